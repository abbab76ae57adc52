"""What a prompt file holds, before anybody asks what it means: texts, or values of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from adadecode.engine.runtime.choices import PromptSplit
from adadecode.profiles.errors import InputError, PromptError
from adadecode.profiles.input_file import parse_json

JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
"""What the names of files end with that hold JSON."""

TABLE_SUFFIXES = {".csv", ".tsv", ".parquet", ".arrow", ".xlsx"}
"""What the names of tables end with, whose lines are no prompts."""

_LINE_END = re.compile("\r\n?|\n")
"""Only these end a line: texts may hold the other separators that str.splitlines knows."""

_BETWEEN = re.compile(r"[\s,]*")


class Entry(NamedTuple):
    """One value of a file.

    Attributes:
        value: A text, or what JSON holds.
        place: Where it stands, for messages.
    """

    value: Any
    place: str


class Entries(NamedTuple):
    """What a file holds.

    Attributes:
        found: The values, in order.
        kind: What the file is, for people: ``JSON lines``.
        is_json: Whether the values are of JSON.
    """

    found: list[Entry]
    kind: str
    is_json: bool


def entries_of(content: str, path: Path, split: PromptSplit | None) -> Entries:
    """Return the values in the text of a file.

    It is JSON where the file's name says so, or where it is an object a line or an array of
    objects. Else it is text, which is cut as ``split`` says; its indentation is kept.

    Args:
        content: The text of the file.
        path: The file.
        split: How text is cut; into lines where None.

    Raises:
        PromptError: There is nothing in it, it is a table, or JSON that cannot be read.
    """
    if path.suffix.lower() in TABLE_SUFFIXES:
        raise PromptError(
            f"wanted prompts as JSON or text, got the table {path}: write its rows as JSON lines, "
            'like {"prompt": "..."}'
        )
    if not content.strip():
        raise PromptError(f"no prompts in {path}: wanted at least one line that is not blank")
    named = path.suffix.lower() in JSON_SUFFIXES
    found = _json_entries(content, path, named=named)
    if found is not None and split is not None:
        raise PromptError(
            f"--prompt-split {split} cuts a text, and {path} holds {found.kind}: leave it out"
        )
    return found or _text_entries(content, path, split or PromptSplit.LINE)


def _json_entries(content: str, path: Path, *, named: bool) -> Entries | None:
    """Return the values of a JSON file; None where it is none.

    Args:
        content: The text of the file.
        path: The file.
        named: Whether its name says that it is JSON.
    """
    lines = [
        (number, line.strip())
        for number, line in enumerate(_LINE_END.split(content), 1)
        if line.strip()
    ]
    first_number, first = lines[0]
    if first.startswith("["):
        where = f"{path} from line {first_number}"
        if named or _is(content, _objects):
            return Entries(_array(content, where, path), "a JSON array", is_json=True)
        return None
    if len(lines) > 1 and first.startswith("{") and _is(content, _object):
        whole = Entry(parse_json(content, path, error=PromptError), f"{path}, line {first_number}")
        return Entries([whole], "a JSON object", is_json=True)
    if named or _is(first, _object):
        return Entries(
            [
                Entry(parse_json(line, where, error=PromptError), where)
                for number, line in lines
                for where in [f"{path}, line {number}"]
            ],
            "JSON lines",
            is_json=True,
        )
    return None


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _is(text: str, wanted: Callable[[object], bool]) -> bool:
    """Whether a text is JSON of a wanted kind."""
    try:
        return wanted(parse_json(text, "a text"))
    except InputError:
        return False


def _array(content: str, where: str, path: Path) -> list[Entry]:
    """Return the items of an array with their lines; a text is a prompt."""
    values = parse_json(content, where, error=PromptError)
    if not values:
        raise PromptError(f"no prompts in {path}: wanted an array that is not empty")
    decoder, found = json.JSONDecoder(), []
    at, line, counted = content.index("[") + 1, 1, 0
    for value in values:
        between = _BETWEEN.match(content, at)
        at = between.end() if between else at
        line, counted = line + len(_LINE_END.findall(content, counted, at)), at
        entry = {"prompt": value} if isinstance(value, str) else value
        found.append(Entry(entry, f"{path}, line {line}"))
        _, at = decoder.raw_decode(content, at)
    return found


def _text_entries(content: str, path: Path, split: PromptSplit) -> Entries:
    """Return the prompts of a plain text, with their indentation."""
    if split == PromptSplit.FILE:
        text = _LINE_END.sub("\n", content)
        return Entries([Entry(text, f"{path}, line 1")], "a text that is one prompt", is_json=False)
    blocks: list[tuple[int, list[str]]] = []
    open_block = False
    for number, line in enumerate(_LINE_END.split(content), 1):
        if not line.strip():
            open_block = False
        elif open_block:
            blocks[-1][1].append(line)
        else:
            blocks.append((number, [line]))
            open_block = split == PromptSplit.BLANK
    kind = "text with a prompt a line"
    if split == PromptSplit.BLANK:
        kind = "text with blank lines between prompts"
    elif indented := sum(lines[0][0].isspace() for _, lines in blocks):
        kind += f" ({indented} of them indented: --prompt-split blank or file keeps lines together)"
    return Entries(
        [Entry("\n".join(lines), f"{path}, line {number}") for number, lines in blocks],
        kind,
        is_json=False,
    )
