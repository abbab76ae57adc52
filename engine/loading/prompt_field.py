"""Which field of an entry of JSON holds its prompt, in which form, and what to do where none does.

A field has one of four forms: a text, turns, messages, or ShareGPT's turns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adadecode.engine.loading.prompt_entries import Entry
from adadecode.profiles.errors import PromptError

FIELDS = ("prompt", "text", "messages", "turns", "conversations")
"""Where prompts are looked for."""

FORMS = {
    "text": "texts as",
    "turns": "turns as",
    "messages": "messages as",
    "conversations": "ShareGPT's turns as",
}
"""The forms of a prompt, as messages name them."""

ANSWERS = {
    "answer",
    "answers",
    "chosen",
    "completion",
    "label",
    "output",
    "reference",
    "rejected",
    "response",
    "responses",
    "solution",
    "target",
}
"""What data sets call fields of answers, which are never proposed as prompts."""


def form_of(value: Any, name: str) -> str:
    """Return which form of a prompt a value has, or how JSON writes it where it has none.

    Args:
        value: What a field holds.
        name: The field.
    """
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


def field_of(entry: Entry, named: str | None, known: Sequence[str], found: Sequence[Entry]) -> str:
    """Return the name of the field that holds the prompt of an entry.

    Args:
        entry: The entry.
        named: The field that the user named, which goes before those that are known.
        known: Other fields that may hold it, of which an entry has one.
        found: All entries of the file.

    Raises:
        PromptError: No field holds it, or several do.
    """
    value, place = entry
    names = [name for name in (named, *known) if name is not None]
    if not isinstance(value, Mapping):
        got = json.dumps(value)[:40]
        todo = f'write it as {{"{names[0]}": "..."}}, or leave the line out'
        raise PromptError(f"wanted an object with {_either(names)} in {place}, got {got}: {todo}")
    if named is not None and named in value:
        return named
    there = [name for name in known if name in value]
    filled = [name for name in there if form_of(value[name], name) in FORMS]
    if len(filled) > 1:
        both = " and ".join(f'"{name}"' for name in filled)
        raise PromptError(
            f"wanted one form of prompt in {place}, got {both}: name the one to read with "
            f"--prompt-field {' or '.join(filled)}"
        )
    if there:
        return there[0]
    got = ", ".join(map(repr, value)) or "nothing"
    raise PromptError(
        f"wanted an object with {_either(names)} in {place}, got one with {got}: "
        f"{_remedy(value, names, [one.value for one in found])}"
    )


def _either(names: Sequence[str]) -> str:
    """Return names in quotes, as a choice."""
    *others, last = (f'"{name}"' for name in names)
    return f"{', '.join(others)} or {last}" if others else last


def _remedy(value: Mapping[str, Any], names: Sequence[str], values: Sequence[Any]) -> str:
    """Return what to do where an entry has none of the fields that may hold its prompt.

    Args:
        value: The entry.
        names: These fields.
        values: All entries of the file.
    """
    used = (name for name in names if any(isinstance(one, dict) and name in one for one in values))
    if (missing := next(used, None)) is not None:
        return f'fill "{missing}" in, or leave the line out'
    shared = [name for name in value if name not in ANSWERS and _holds_prompts(name, values)]
    lists = [name for name in shared if len(values) == 1 and form_of(value[name], name) == "turns"]
    todo = []
    if proposed := [name for name in shared if name not in lists]:
        todo.append(f"name the field with --prompt-field {' or '.join(proposed)}")
    todo += [
        f'write the list that "{name}" holds as the file, a prompt each, or name it with '
        f"--prompt-field {name} if it holds the turns of one chat"
        for name in lists
    ]
    if not todo:
        todo = [
            f'write what "{name}" holds as the file, an array or an object a line'
            for name, one in value.items()
            if _holds_entries(one)
        ][:1]
    return ", or ".join(todo) or f'no other field holds a prompt in every line, so add "{names[0]}"'


def _holds_prompts(name: str, values: Sequence[Any]) -> bool:
    """Whether a field is in every entry, holds a prompt there, and all in one form."""
    held = [one[name] for one in values if isinstance(one, Mapping) and name in one]
    forms = {form_of(one, name) for one in held}
    return (
        len(held) == len(values)
        and len(forms) == 1
        and forms <= FORMS.keys()
        and not any(_holds_entries(one) or one == "" for one in held)
    )


def _holds_entries(value: Any) -> bool:
    """Whether a value holds objects that are no messages, each of which may be a prompt."""
    return form_of(value, "") == "messages" and "role" not in value[0]
