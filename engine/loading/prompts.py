"""Prompts: texts to continue, and the token ids that a tokenizer makes of them.

`adadecode.engine.loading.prompt_file` reads them from files, and
`adadecode.engine.loading.chat_template` writes them of conversations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adadecode.profiles.errors import PromptError
from adadecode.sim.core.scalars import whole_number

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

DOMAIN = "default"
"""The domain of a prompt whose file names none."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A text to continue.

    Attributes:
        text: The text.
        domain: The domain to report it under.
        max_new_tokens: How many tokens to add at most; None for the recording's own number.
        template: The SHA-256 of the chat template that wrote the text, which then has its special
            tokens already; None for a plain text, to which the tokenizer adds its own.
        asked: What was said in the chat that a template wrote, as `read_texts` gives it; None for a
            plain text. It tells which text this is, and changes no token.

    Raises:
        PromptError: The text or the domain is no text, or the number is none from 1 on.
    """

    text: str
    domain: str = DOMAIN
    max_new_tokens: int | None = None
    template: str | None = None
    asked: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("text", "domain"):
            if not isinstance(value := getattr(self, name), str):
                raise PromptError(f"wanted the {name} of a prompt as a str, got {value!r}")
        count = checked_length(self.max_new_tokens, "max_new_tokens of a prompt")
        object.__setattr__(self, "max_new_tokens", count)


def checked_length(value: object, what: str) -> int | None:
    """Return a prompt's own number of new tokens as an int, None for none.

    Args:
        value: The number, of any kind.
        what: What it is, for the message.

    Raises:
        PromptError: It is no whole number from 1 on.
    """
    count = None if value is None else whole_number(value)
    if value is not None and (count is None or count < 1):
        raise PromptError(
            f"wanted {what} as a whole number from 1 on, got {value!r}: leave it out for the "
            "recording's own"
        )
    return count


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
    found = list(texts)
    if any(isinstance(one, (list, tuple, Mapping)) for one in found):
        raise PromptError(
            "wanted prompts as texts, got messages: make prompts of conversations with "
            "chat_prompts(tokenizer, chats)"
        )
    return [one if isinstance(one, Prompt) else Prompt(text=one) for one in found]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> torch.Tensor:
    """Return the token ids of a prompt, with the special tokens that belong to it.

    Those of a plain text are what the tokenizer adds, and those of a chat are what its template
    wrote. A text that begins with the token that begins texts gets no second one.

    Args:
        tokenizer: The model's tokenizer.
        prompt: The prompt.

    Returns:
        Token ids, shape ``(1, n)``.

    Raises:
        PromptError: The tokenizer makes no token of it.
    """
    import torch

    added = {} if prompt.template is None else {"add_special_tokens": False}
    ids = _without_second_start(tokenizer(prompt.text, **added)["input_ids"], prompt, tokenizer)
    if not ids:
        raise PromptError(
            f"the tokenizer makes no token of the prompt {prompt.text[:40]!r}: leave it out"
        )
    return torch.tensor([ids], dtype=torch.long)


def _without_second_start(
    ids: list[int], prompt: Prompt, tokenizer: PreTrainedTokenizerBase
) -> list[int]:
    """Return the ids without start tokens that were added before those that the text has."""
    start, word = getattr(tokenizer, "bos_token_id", None), getattr(tokenizer, "bos_token", None)
    if not word or not prompt.text.startswith(word):
        return ids
    rest, written = prompt.text, 0
    while rest.startswith(word):
        rest, written = rest[len(word) :], written + 1
    found = next((at for at, one in enumerate(ids) if one != start), len(ids))
    return ids[max(0, found - written) :]
