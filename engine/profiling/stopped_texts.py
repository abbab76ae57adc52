"""Recordings whose texts end at stop strings.

A replay ends a text at an end token or at its budget, and knows no stop strings. So every text is
decoded once before the recording begins, and the length at which it stops is its budget from then
on: in the runs, the trace and every replay. A live decoder does not know that length. In its last
round it may draft beyond the stop, which such a recording neither holds nor times
(docs/decisions/0035).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.stop_strings import StopCriteria, checked_stop_strings
from adadecode.engine.loading.prompts import Prompt
from adadecode.sim.core.design import Design, Policy

LIMITATION = (
    "texts end at stop strings, at lengths that the runs know beforehand: what a live decoder "
    "drafts beyond a stop in its last round is neither recorded nor timed"
)
"""What a reader of such a recording must know."""


def recorded_stops(given: Sequence[str] | None, decoder: AdaDecoder) -> tuple[str, ...]:
    """Return the stop strings of a recording; none where there are none.

    Args:
        given: Those that the user gave; None for those of the model's generation settings.
        decoder: The model.

    Raises:
        InputError: They are no strings, or one of them is empty.
    """
    own = getattr(decoder.parts.model.generation_config, "stop_strings", None)
    return checked_stop_strings(None if given is None else tuple(given), own)


def stopped_prompts(
    decoder: AdaDecoder,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    encoded: Sequence[Sequence[int]],
    *,
    strings: tuple[str, ...],
    max_new_tokens: int,
) -> list[Prompt]:
    """Return prompts whose texts end where a stop string is complete, by their own budgets.

    Args:
        decoder: The model.
        tokenizer: The model's own.
        prompts: The prompts.
        encoded: Their token ids.
        strings: The stop strings.
        max_new_tokens: Tokens to generate for each prompt, unless its own number is less.

    Raises:
        InputError: The strings cannot be found in the tokens of this tokenizer.
    """
    stop = StopCriteria(strings, tokenizer)
    with torch.inference_mode():
        decoder.parts.allocate(max(map(len, encoded)) + max_new_tokens)
    found = []
    for prompt, ids in zip(prompts, encoded, strict=True):
        decoding = decoder.start(
            torch.tensor([list(ids)]),
            Design.of(Policy.VANILLA),
            max_new_tokens=min(prompt.max_new_tokens or max_new_tokens, max_new_tokens),
            stop=stop,
        )
        decoding.run_to_end()
        schedule = decoding.schedule
        found.append(
            replace(prompt, max_new_tokens=len(schedule.tokens)) if schedule.stopped else prompt
        )
    return found
