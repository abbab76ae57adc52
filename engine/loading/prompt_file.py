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
    "turns": "turns after a first are left out: they ask about its answer",
    "answers": "answers at the end are left out",
    "openings": "answers at the beginning are left out",
    "empty": "conversations in which nobody asks are left out",
}
"""What may be left of a file, for people."""


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
    if not is_there(path):
        raise PromptError(
            f"no prompt file {path}: name a JSON file, or a text file with one prompt a line"
        )
    entries = entries_of(read_text(path, error=PromptError), path, split)
    if not entries.is_json:
        if field is not None:
            raise PromptError(
                f"--prompt-field {field} names a field of JSON, and {path} holds text: leave it out"
            )
        prompts: list[Prompt | Conversation] = [Prompt(text=one.value) for one in entries.found]
        return PromptFile(prompts, _said(path, entries.kind, len(prompts)))
    return _Reader(path, field).read(entries)


def _said(path: Path, what: str, count: int) -> str:
    return f"{path} holds {what}, {count:,} in all"


class _Reader:
    """Reads the entries of one JSON file.

    Args:
        path: The file.
        field: The field that holds the prompts; recognised where None.
    """

    def __init__(self, path: Path, field: str | None) -> None:
        self.path, self.field = path, field
        self.left: Counter[str] = Counter()
        self.first: tuple[str, str] | None = None

    def read(self, entries: Entries) -> PromptFile:
        found = [one for entry in entries.found if (one := self._prompt(entry)) is not None]
        if not found:
            raise PromptError(f"no prompts in {self.path}: in no conversation does anybody ask")
        form = self.first[0] if self.first is not None else ""
        sentences = [
            _said(self.path, f"{entries.kind} with {form}", len(found)),
            *(f"{count:,} {LEFT[what]}" for what, count in self.left.items() if count),
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
        names = FIELDS if self.field is None else (self.field,)
        if isinstance(value, Mapping):
            if name := next((name for name in names if name in value), None):
                return name
            texts = [key for key, one in value.items() if isinstance(one, str | list)]
            got = f"one with {', '.join(map(repr, value)) or 'nothing'}"
            todo = f": name the field with --prompt-field {texts[0]}" if texts else ""
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


def read_texts(path: str | Path) -> list[Prompt]:
    """Return the texts of a prompt file; of a conversation what was said, a line a message.

    Raises:
        PromptError: See `read_prompts`.
    """
    return [
        Prompt(text="\n".join(str(message["content"]) for message in one.messages))
        if isinstance(one, Conversation)
        else one
        for one in read_prompts(path).prompts
    ]
