"""The sets of stop strings that a batched decoder keeps prepared."""

from __future__ import annotations

from threading import Lock
from typing import Any

from transformers import PreTrainedTokenizerBase

from adadecode.engine.decoding.stop_strings import (
    StopCriteria,
    StopTexts,
    check_tokenizer,
    checked_stop_strings,
)

MOST_SETS = 8
"""Sets that are kept. Each takes a table of the whole vocabulary."""


class StopSets:
    """Stop strings that were prepared, those used last first. Any thread may ask for them.

    New ones are prepared one set at a time, and nobody who asks for one that is kept waits for it.
    """

    def __init__(self) -> None:
        self._kept: list[StopCriteria] = []
        self._looking, self._preparing = Lock(), Lock()

    def of_text(
        self, stop_strings: StopTexts, tokenizer: PreTrainedTokenizerBase | None, own: Any
    ) -> StopCriteria | None:
        """Return the criteria of a text's stop strings, prepared; None where there are none.

        Args:
            stop_strings: What the user gave.
            tokenizer: The model's own tokenizer.
            own: The stop strings of the model's generation settings, taken for None.

        Raises:
            InputError: They are no stop strings, or the tokenizer is missing or cannot write them.
        """
        strings = checked_stop_strings(stop_strings, own)
        check_tokenizer(tokenizer, strings, own=stop_strings is None)
        if tokenizer is None or not strings:
            return None
        if (kept := self._found(strings, tokenizer)) is not None:
            return kept
        with self._preparing:
            if (kept := self._found(strings, tokenizer)) is not None:
                return kept
            made = StopCriteria(strings, tokenizer)
            with self._looking:
                self._kept = [made, *self._kept[: MOST_SETS - 1]]
            return made

    def _found(
        self, strings: tuple[str, ...], tokenizer: PreTrainedTokenizerBase
    ) -> StopCriteria | None:
        """Return the criteria that are kept of these strings, and put them first."""
        with self._looking:
            for at, one in enumerate(self._kept):
                if one.serves(strings, tokenizer):
                    self._kept.insert(0, self._kept.pop(at))
                    return one
        return None
