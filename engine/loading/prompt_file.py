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
from adadecode.engine.loading.prompts import DOMAIN, Prompt
from adadecode.engine.runtime.choices import PromptSplit
from adadecode.profiles.errors import PromptError
from adadecode.profiles.input_file import is_there, read_text

FIELDS = ("prompt", "text", "messages", "turns", "conversations")
"""Where prompts are looked for, the first that is there."""

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

    All prompts of a file have one form. An entry may also have "domain" and "max_new_tokens";
    where it has turns, "category" is the domain too. Other fields are ignored.

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
    return _prompts(path, entries, FIELDS if field is None else (field,))


def _entries(path: Path, split: PromptSplit | None) -> Entries:
    """Return what a file holds. Raises PromptError where it cannot be read."""
    if not is_there(path):
        raise PromptError(
            f"no prompt file {path}: name a JSON file, or a text file with one prompt a line"
        )
    return entries_of(read_text(path, error=PromptError), path, split)


def _prompts(path: Path, entries: Entries, fields: tuple[str, ...]) -> PromptFile:
    """Return the prompts among what a file holds, those of JSON by the first field there is."""
    if entries.is_json:
        return _Reader(path, fields).read(entries)
    prompts: list[Prompt | Conversation] = [Prompt(text=one.value) for one in entries.found]
    return PromptFile(prompts, _said(path, entries.kind, len(prompts)))


def _said(path: Path, what: str, count: int) -> str:
    return f"{path} holds {what}, {count:,} in all"


class _Reader:
    """Reads the entries of one JSON file.

    Args:
        path: The file.
        fields: Fields that may hold the prompts, the first that is there.
    """

    def __init__(self, path: Path, fields: tuple[str, ...]) -> None:
        self.path, self.fields = path, fields
        self.left: Counter[str] = Counter()
        self.first: tuple[str, str] | None = None

    def read(self, entries: Entries) -> PromptFile:
        from adadecode.sim.report.formatting import plural

        found = [one for entry in entries.found if (one := self._prompt(entry)) is not None]
        if not found:
            raise PromptError(f"no prompts in {self.path}: in no conversation does anybody ask")
        form = self.first[0] if self.first is not None else ""
        sentences = [
            _said(self.path, f"{entries.kind} with {form}", len(found)),
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
        name = self._field(value, place)
        given, about = value[name], _about(value, place)
        kind = _kind(given, name)
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

    def _field(self, value: Any, place: str) -> str:
        """Return the name of the field that holds the prompt."""
        names = self.fields
        if isinstance(value, Mapping):
            if name := next((name for name in names if name in value), None):
                return name
            got, todo = f"one with {', '.join(map(repr, value)) or 'nothing'}", _remedy(value)
        else:
            got, todo = json.dumps(value)[:40], ""
        wanted = ", ".join(f'"{name}"' for name in names[:-1])
        wanted += f'{" or " if wanted else ""}"{names[-1]}"'
        raise PromptError(f"wanted an object with {wanted} in {place}, got {got}{todo}")

    def _check_form(self, kind: str, name: str, place: str) -> None:
        """Raise PromptError unless all prompts of the file have one form."""
        form = _FORMS.get(kind)
        if form is None:
            raise PromptError(
                f'wanted messages, turns or a string as "{name}" in {place}, got {kind}'
            )
        same = f'{form} "{name}"'
        if self.first is None:
            self.first = (same, place)
        elif not self.first[0].startswith(form):
            raise PromptError(
                f"wanted one form of prompts, got {self.first[0]} in {self.first[1]} and {same} in "
                f"{place}: write a file for each"
            )


def _remedy(value: Mapping[str, Any]) -> str:
    """Return what to do where no field of an entry is known, for the end of a message."""
    for name, one in value.items():
        if _kind(one, name) in _FORMS and not _holds_entries(one):
            return f": name the field with --prompt-field {name}"
    if nested := next((name for name, one in value.items() if _holds_entries(one)), None):
        return f': write what "{nested}" holds as the file, an array or an object a line'
    return ""


def _holds_entries(value: Any) -> bool:
    """Whether a value holds objects that are no messages, each of which may be a prompt."""
    return _kind(value, "") == "messages" and "role" not in value[0]


_FORMS = {
    "text": "texts as",
    "turns": "turns as",
    "messages": "messages as",
    "conversations": "ShareGPT's turns as",
}


def _kind(value: Any, name: str) -> str:
    """Return which form of a prompt a value has, or how JSON writes it where it has none."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, list) and all(isinstance(one, str) for one in value) and value:
        return "turns"
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        if value:
            return "conversations" if "from" in value[0] else "messages"
        if name == "conversations":
            return "conversations"
    return json.dumps(value)[:40]


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
    fields = FIELDS if field is None else (field, *FIELDS)
    found = [
        Prompt(text=one.said) if isinstance(one, Conversation) else one
        for one in _prompts(path, _entries(path, None), fields).prompts
    ]
    return [one for one in found if one.text]
