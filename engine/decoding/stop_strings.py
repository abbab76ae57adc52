"""Stop strings: texts that end where one of them is complete, as those of ``generate`` do.

What is complete is decided by the criterion of ``transformers`` itself, from the prompt and the
committed tokens. So the token that completes a string is kept, a string may begin in the prompt and
end inside a token, and bytes of one character may come from several tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.generation.stopping_criteria import StopStringCriteria

from adadecode.profiles.errors import InputError

StopTexts = str | Sequence[str] | None
"""Strings that end a text: one, several, none (an empty sequence), or None for the model's own."""

_preparing = Lock()
"""``transformers`` keeps what it prepares in a cache that is no thread's own."""


class StopCriteria:
    """Stop strings as one tokenizer writes them. Preparing them reads the whole vocabulary.

    Args:
        strings: The strings, at least one, none of them empty.
        tokenizer: The model's own tokenizer.

    Raises:
        InputError: ``transformers`` cannot find the strings in the tokens of this tokenizer.
    """

    def __init__(self, strings: tuple[str, ...], tokenizer: PreTrainedTokenizerBase) -> None:
        self.strings, self.tokenizer, self.size = strings, tokenizer, len(tokenizer)
        try:
            with _preparing:
                self._criteria = StopStringCriteria(tokenizer, list(strings))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the stop strings {list(strings)} cannot be found in the tokens of this "
                f"{type(tokenizer).__name__}: give strings that its tokens can write, or take "
                "tokens from stream and leave the loop"
            ) from error

    def serves(self, strings: tuple[str, ...], tokenizer: PreTrainedTokenizerBase) -> bool:
        """Return whether these are the strings and the tokenizer, without tokens added since."""
        return (self.strings, self.size) == (strings, len(tokenizer)) and (
            self.tokenizer is tokenizer
        )

    def after(self, prompt: Sequence[int]) -> StopCheck:
        """Return the check of a text that continues this prompt."""
        return StopCheck(self, prompt)

    @property
    def longest(self) -> int:
        """The most tokens that one of the strings can span."""
        return int(self._criteria.maximum_token_len)

    def complete(self, tokens: Sequence[int]) -> bool:
        """Return whether the last of these tokens completes a stop string."""
        ids = torch.tensor([tokens], dtype=torch.long, device="cpu")
        return bool(self._criteria(ids, None))


class StopCheck:
    """Says of one text, whose prompt it knows, whether its last token completes a stop string.

    Args:
        criteria: The stop strings.
        prompt: The token ids of the prompt.
    """

    def __init__(self, criteria: StopCriteria, prompt: Sequence[int]) -> None:
        self._criteria = criteria
        self._before = list(prompt[-criteria.longest :])

    def __call__(self, tokens: Sequence[int]) -> bool:
        """Return whether the text ends with the last of its new tokens."""
        longest = self._criteria.longest
        recent = list(tokens[-longest:])
        missing = longest - len(recent)
        return self._criteria.complete([*(self._before[-missing:] if missing else []), *recent])


def checked_stop_strings(stop_strings: Any, own: Any) -> tuple[str, ...]:
    """Return the stop strings of a text, none where there are none.

    Args:
        stop_strings: What the user gave.
        own: Those of the model's generation settings, taken for None.

    Raises:
        InputError: They are no strings, or one of them is empty.
    """
    given = own if stop_strings is None else stop_strings
    strings = () if given is None else (given,) if isinstance(given, str) else given
    if isinstance(strings, (list, tuple)) and all(isinstance(one, str) and one for one in strings):
        return tuple(dict.fromkeys(strings))
    raise InputError(
        f"wanted stop_strings as a string or a list of strings, none of them empty, got {given!r}: "
        'give one such as "\\n\\n", or () for none'
    )


def check_tokenizer(tokenizer: Any, strings: tuple[str, ...], *, own: bool) -> None:
    """Raise InputError where stop strings are given without the tokenizer that writes them.

    Args:
        tokenizer: What was given.
        strings: The stop strings.
        own: Whether they are those of the model's generation settings.
    """
    if tokenizer is not None and not callable(getattr(tokenizer, "get_vocab", None)):
        raise InputError(
            f"wanted tokenizer as one of transformers, got a {type(tokenizer).__name__}: load it "
            "with AutoTokenizer.from_pretrained(name)"
        )
    if strings and tokenizer is None:
        whose = "the model's generation settings have" if own else "a text is to end at"
        raise InputError(
            f"{whose} the stop strings {list(strings)}, which only the tokenizer can find: give "
            f"tokenizer too{', or stop_strings=() for none' if own else ''}"
        )
