"""What every baseline is: a way to decode that is run, timed and recorded like all others.

Every baseline decodes greedily from the same weights in the same dtype. Its time has two parts:
until the first step has given its tokens (the prefill), and from then on. Our runs give one token
in the first step. Speculative variants of ``generate`` draft before they have seen the prompt and
may give several at once, so seconds per token are ``decode_s / (n_tokens - n_first)`` for all: the
same rule, one token for us.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch


@dataclass(frozen=True, kw_only=True)
class TimedRun:
    """One run of a baseline.

    Attributes:
        tokens: The new tokens, the one that ended the text included.
        n_first: How many of them the first step gave.
        prefill_s: Seconds until these were there.
        decode_s: Seconds from then on.
        compile_s: Seconds spent compiling in runs that had to be made again, in neither of the two.
        uncounted: How many runs were made before this one.
    """

    tokens: list[int]
    n_first: int
    prefill_s: float
    decode_s: float
    compile_s: float = 0.0
    uncounted: int = 0


class Baseline(Protocol):
    """A way to decode that designs are compared with."""

    @property
    def name(self) -> str:
        """The name of the baseline, which no other has."""
        ...

    @property
    def needs(self) -> str:
        """What it cannot do without, in words."""
        ...

    @property
    def lacks(self) -> str:
        """Why it does not apply here; empty where it does."""
        ...

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, token ids ``(1, n)``. Whatever the model raises passes through."""
        ...

    def about(self) -> dict[str, Any]:
        """Return its settings for the manifest, as plain JSON."""
        ...


def n_same(tokens: Sequence[int], reference: Sequence[int]) -> int:
    """Return how many tokens, from the first on, are the reference's."""
    return next(
        (i for i, (a, b) in enumerate(zip(tokens, reference, strict=False)) if a != b),
        min(len(tokens), len(reference)),
    )
