"""Prompts from a file: JSON lines, JSON arrays or plain text, in the forms that data sets have.

==================  ==============================================================================
``prompt, text``    a text to continue
``messages``        a conversation as OpenAI's interface takes it
``turns``           what a user asks in turn (Spec-Bench, MT-bench): the first is the prompt
``conversations``   ShareGPT's turns, up to the last that is not the model's
plain text          a prompt a line, or as ``--prompt-split`` says
==================  ==============================================================================

Any other field is named with ``--prompt-field``, and holds one of the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from adadecode.engine.loading.conversation import (
    USER,
    Conversation,
    openai_messages,
    sharegpt_messages,
    without_answer,
    without_opening,
)
from adadecode.engine.loading.prompt_entries import Entries, Entry, entries_of
from adadecode.engine.loading.prompt_field import FIELDS, FORMS, field_of, form_of
from adadecode.engine.loading.prompts import DOMAIN, Prompt
from adadecode.engine.runtime.choices import PromptSplit
from adadecode.profiles.errors import PromptError
from adadecode.profiles.input_file import is_there, read_text

LEFT = {
    "turns": ("turn", "after a first, as it asks about its answer"),
    "answers": ("answer", "at the end"),
    "openings": ("answer", "at the beginning"),
    "empty": ("conversation", "in which nobody asks"),
}
"""What may be left of a file, for people: what it is, and which."""


class PromptFile(NamedTuple):
    """What was read from a prompt file.

    Attributes:
        prompts: Texts to continue, and conversations to answer with a chat template.
        recognised: What the file was taken for, and what of it was left, in a sentence.
    """

    prompts: list[Prompt | Conversation]
    recognised: str


def read_prompts(
    path: str | Path, *, field: str | None = None, split: PromptSplit | None = None
) -> PromptFile:
    """Return the prompts of a file, in order.

    All prompts of a file have one form, and an entry has one of the fields that are known, where
    ``field`` does not choose one. An entry may also have "domain" and "max_new_tokens"; where it
    has turns, "category" is the domain too. Other fields are ignored.

    Args:
        path: The file.
        field: The field of a JSON file that holds the prompts; recognised where None.
        split: How a plain text is cut; into lines where None.

    Raises:
        PromptError: The file cannot be read, or an entry is wrong; the message names its line.
    """
    path = Path(path)
    entries = _entries(path, split)
    if field is not None and not entries.is_json:
        raise PromptError(
            f"--prompt-field {field} names a field of JSON, and {path} holds text: leave it out"
        )
    return _prompts(path, entries, field, FIELDS if field is None else ())


def _entries(path: Path, split: PromptSplit | None) -> Entries:
    """Return what a file holds. Raises PromptError where it cannot be read."""
    if not is_there(path):
        raise PromptError(
            f"no prompt file {path}: name a JSON file, or a text file with one prompt a line"
        )
    return entries_of(read_text(path, error=PromptError), path, split)


def _prompts(path: Path, entries: Entries, named: str | None, known: tuple[str, ...]) -> PromptFile:
    """Return the prompts among what a file holds, those of JSON by a field (see `field_of`)."""
    if entries.is_json:
        return _Reader(path, entries, named, known).read()
    prompts: list[Prompt | Conversation] = [Prompt(text=one.value) for one in entries.found]
    return PromptFile(prompts, _said(path, entries.kind, len(prompts)))


def _said(path: Path, what: str, count: int) -> str:
    return f"{path} holds {what}, {count:,} in all"


class _Reader:
    """Reads the entries of one JSON file.

    Args:
        path: The file.
        entries: What it holds.
        named: The field that the user named.
        known: Other fields that may hold the prompts.
    """

    def __init__(
        self, path: Path, entries: Entries, named: str | None, known: tuple[str, ...]
    ) -> None:
        self.path, self.entries, self.named, self.known = path, entries, named, known
        self.left: Counter[str] = Counter()
        self.first: tuple[str, str, str] | None = None
        self.names: dict[str, None] = {}

    def read(self) -> PromptFile:
        from adadecode.sim.report.formatting import plural

        entries = self.entries
        found = [one for entry in entries.found if (one := self._prompt(entry)) is not None]
        if not found:
            raise PromptError(f"no prompts in {self.path}: in no conversation does anybody ask")
        form = self.first[0] if self.first is not None else ""
        names = " and ".join(f'"{name}"' for name in self.names)
        sentences = [
            _said(self.path, f"{entries.kind} with {form} {names}", len(found)),
            *(
                f"left out: {plural(count, noun)} {which}"
                for what, count in self.left.items()
                if count
                for noun, which in [LEFT[what]]
            ),
        ]
        return PromptFile(found, "; ".join(sentences))

    def _prompt(self, entry: Entry) -> Prompt | Conversation | None:
        """Return an entry as a prompt; None where it is a conversation in which nobody asks."""
        value, place = entry
        name = field_of(entry, self.named, self.known, self.entries.found)
        given, about = value[name], _about(value, place)
        kind = form_of(given, name)
        self._check_form(kind, name, place)
        if kind == "text":
            return Prompt(text=_filled(given, name, place), **about)
        if kind == "turns":
            self.left["turns"] += len(given) - 1
            category = value.get("category")
            if "domain" not in value and isinstance(category, str) and category.strip():
                about["domain"] = category
            return Prompt(text=_filled(given[0], name, place), **about)
        return self._conversation(kind, given, about, place)

    def _conversation(
        self, kind: str, given: list[Any], about: dict[str, Any], place: str
    ) -> Conversation | None:
        sharegpt = kind == "conversations"
        messages = (sharegpt_messages if sharegpt else openai_messages)(given, place)
        kept = without_answer(messages)
        if sharegpt:
            asked = without_opening(kept)
            if not any(one["role"] == USER for one in asked):
                self.left["empty"] += 1
                return None
            self.left["openings"] += len(kept) - len(asked)
            messages = messages[len(kept) - len(asked) :]
            kept = asked
        self.left["answers"] += len(messages) - len(kept)
        return Conversation(messages=tuple(kept), place=place, **about)

    def _check_form(self, kind: str, name: str, place: str) -> None:
        """Raise PromptError unless all prompts of the file have one form."""
        form = FORMS.get(kind)
        if form is None:
            raise PromptError(
                f'wanted messages, turns or a string as "{name}" in {place}, got {kind}'
            )
        self.names[name] = None
        if self.first is None:
            self.first = (form, name, place)
        elif self.first[0] != form:
            first, at, line = self.first
            raise PromptError(
                f'wanted one form of prompts, got {first} "{at}" in {line} and {form} "{name}" in '
                f"{place}: write a file for each"
            )


def _about(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return what an entry says besides its prompt."""
    length = value.get("max_new_tokens")
    if length is not None and (
        isinstance(length, bool) or not isinstance(length, int) or length < 1
    ):
        raise PromptError(
            f'wanted a whole number from 1 on as "max_new_tokens" in {place}, got '
            f"{json.dumps(length)[:40]}"
        )
    domain = value.get("domain", DOMAIN)
    return {"domain": _filled(domain, "domain", place), "max_new_tokens": length}


def _filled(value: Any, name: str, place: str) -> str:
    """Return a text that is not blank."""
    if not isinstance(value, str):
        raise PromptError(f'wanted a string as "{name}" in {place}, got {json.dumps(value)[:40]}')
    if not value.strip():
        raise PromptError(f'"{name}" is empty in {place}: fill it in, or leave it out')
    return value


def read_texts(path: str | Path, *, field: str | None = None) -> list[Prompt]:
    """Return the texts of a prompt file; of a conversation what was said, a line a message.

    Args:
        path: The file.
        field: A field that may hold them besides those that are known.

    Raises:
        PromptError: See `read_prompts`.
    """
    path = Path(path)
    found = [
        Prompt(text=one.said) if isinstance(one, Conversation) else one
        for one in _prompts(path, _entries(path, None), field, FIELDS).prompts
    ]
    return [one for one in found if one.text]
