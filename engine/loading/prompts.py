"""Prompts from a file: JSON lines or plain text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adadecode.profiles.errors import InputError, PromptError
from adadecode.profiles.input_file import is_there, parse_json, read_text
from adadecode.sim.core.scalars import whole_number

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

DOMAIN = "default"
"""The domain of a prompt whose file names none."""

_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A text to continue.

    Attributes:
        text: The text.
        domain: The domain to report it under.
        max_new_tokens: How many tokens to add at most; None for the recording's own number.

    Raises:
        PromptError: The text or the domain is no text, or the number is none from 1 on.
    """

    text: str
    domain: str = DOMAIN
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("text", "domain"):
            if not isinstance(value := getattr(self, name), str):
                raise PromptError(f"wanted the {name} of a prompt as a str, got {value!r}")
        if self.max_new_tokens is not None:
            count = whole_number(self.max_new_tokens)
            if count is None or count < 1:
                raise PromptError(
                    "wanted max_new_tokens of a prompt as a whole number from 1 on, got "
                    f"{self.max_new_tokens!r}: leave it out for the recording's own"
                )
            object.__setattr__(self, "max_new_tokens", count)


def as_prompts(texts: Sequence[str | Prompt]) -> list[Prompt]:
    """Return texts as prompts of the default domain; a `Prompt` stays as it is.

    Raises:
        PromptError: They are no list, or something in it is neither.
    """
    if isinstance(texts, (str, bytes, Mapping, Prompt)) or not isinstance(texts, Iterable):
        raise PromptError(
            f"wanted prompts as a list of texts, got a {type(texts).__name__}: give a list, also "
            "of one"
        )
    return [text if isinstance(text, Prompt) else Prompt(text=text) for text in texts]


def read_prompts(path: str | Path) -> list[Prompt]:
    """Return the prompts of a file, in order.

    The file holds JSON lines where its name ends in .jsonl, .ndjson or .json or its first line is
    an object; else one prompt a line. Each JSON line is an object with "prompt" or "text", and
    perhaps "domain" and "max_new_tokens". Blank lines are skipped.

    Args:
        path: The file.

    Raises:
        PromptError: The file cannot be read, or a line is wrong; the message names it.
    """
    path = Path(path)
    if not is_there(path):
        raise PromptError(
            f"no prompt file {path}: name a .jsonl or a text file with one prompt a line"
        )
    content = read_text(path, error=PromptError)
    # Only \n ends a line: JSON strings may hold the other separators that str.splitlines knows.
    lines = [
        (number, line.strip()) for number, line in enumerate(content.split("\n"), 1) if line.strip()
    ]
    if not lines:
        raise PromptError(f"no prompts in {path}: wanted at least one line that is not blank")
    if path.suffix.lower() in _JSON_SUFFIXES or _is_object(lines[0][1]):
        return [_from_json(line, f"{path}, line {number}") for number, line in lines]
    return [Prompt(text=line) for _, line in lines]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> torch.Tensor:
    """Return the token ids of a prompt, with the special tokens that the tokenizer adds.

    Args:
        tokenizer: The model's tokenizer.
        prompt: The prompt.

    Returns:
        Token ids, shape ``(1, n)``.

    Raises:
        PromptError: The tokenizer makes no token of it.
    """
    import torch

    ids = tokenizer(prompt.text)["input_ids"]
    if not ids:
        raise PromptError(
            f"the tokenizer makes no token of the prompt {prompt.text[:40]!r}: leave it out"
        )
    return torch.tensor([ids], dtype=torch.long)


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line, "a line"), dict)
    except InputError:
        return False


def _from_json(line: str, where: str) -> Prompt:
    """Return one line of JSON as a prompt."""
    entry: Any = parse_json(line, where, error=PromptError)
    key = next(
        (key for key in ("prompt", "text") if isinstance(entry, dict) and key in entry), None
    )
    if key is None:
        got = (
            f"one with {', '.join(map(repr, entry)) or 'nothing'}"
            if isinstance(entry, dict)
            else json.dumps(entry)[:40]
        )
        raise PromptError(f'wanted an object with "prompt" or "text" in {where}, got {got}')
    text, domain = entry[key], entry.get("domain", DOMAIN)
    for name, value in ((key, text), ("domain", domain)):
        if not isinstance(value, str):
            raise PromptError(
                f'wanted a string as "{name}" in {where}, got {json.dumps(value)[:40]}'
            )
        if not value.strip():
            raise PromptError(f'"{name}" is empty in {where}: fill it in, or leave it out')
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise PromptError(
                f'"{name}" in {where} holds half of a surrogate pair, which is no text: repair the '
                "file"
            )
    length = entry.get("max_new_tokens")
    if length is not None and (
        isinstance(length, bool) or not isinstance(length, int) or length < 1
    ):
        raise PromptError(
            f'wanted a whole number from 1 on as "max_new_tokens" in {where}, got '
            f"{json.dumps(length)[:40]}"
        )
    return Prompt(text=text, domain=domain, max_new_tokens=length)
