"""Which requests of a file are taken, and how they are scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError
from adadecode.sim.core.parsing import finite
from adadecode.sim.serving.workloads.workload import MOST_TOKENS

_Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is taken of a file: in this order a window, the first ones, a sample; then scaled.

    A sample keeps each request with the same probability, whatever its neighbours do, so that
    quiet and busy hours stay what they are. ``sample=0.1, rate_scale=10`` keeps the load of the
    whole, with a tenth of its requests.

    Attributes:
        window_s: Seconds from the first request of the file: from the first number on, before the
            second. The window begins at 0 seconds.
        first: At most so many requests; None for all.
        sample: Probability with which each is kept.
        seed: Seed of the sample.
        rate_scale: Times as many requests a second.
        prompt_scale: Times as many tokens a prompt, rounded, at least 1.
        output_scale: Times as many tokens an output, rounded, at least 1.

    Raises:
        InputError: If a number makes no sense.
    """

    window_s: tuple[float, float] | None = None
    first: int | None = None
    sample: float = 1.0
    seed: int = 0
    rate_scale: float = 1.0
    prompt_scale: float = 1.0
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.window_s is not None:
            start, end = self.window_s
            finite("the start of the window", start, low=0)
            if not end > start:
                raise InputError(
                    f"wanted a window that ends after {start:g} s, where it starts, got {end:g} s"
                )
        if self.first is not None and self.first < 1:
            raise InputError(f"wanted the first requests, 1 or more, got {self.first}")
        if not 0 < self.sample <= 1:
            raise InputError(f"wanted the sample as a share above 0, up to 1, got {self.sample}")
        if self.seed < 0:
            raise InputError(f"wanted the seed as a whole number from 0 on, got {self.seed}")
        for name in ("rate_scale", "prompt_scale", "output_scale"):
            finite(name, getattr(self, name), low=1e-6, high=1e6)

    def rows(self, arrival_s: _Array) -> NDArray[np.int64]:
        """Return which rows are taken, by their place.

        Args:
            arrival_s: Seconds from the first request of the file, rising, one a row.
        """
        taken = np.arange(len(arrival_s))
        if self.window_s is not None:
            start, end = np.searchsorted(arrival_s, self.window_s, side="left")
            taken = taken[start:end]
        taken = taken[: self.first]
        if self.sample < 1:
            draws = np.random.default_rng(self.seed).random(len(taken))
            taken = taken[draws < self.sample]
        return taken

    def times(self, arrival_s: _Array) -> _Array:
        """Return when the requests that are taken arrive."""
        start = 0.0 if self.window_s is None else self.window_s[0]
        return (arrival_s - start) / self.rate_scale

    def prompts(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of the prompts. Raises InputError if they become too long."""
        return _scaled(tokens, "prompt_scale", self.prompt_scale)

    def outputs(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of the outputs. Raises InputError if they become too long."""
        return _scaled(tokens, "output_scale", self.output_scale)


def _scaled(tokens: NDArray[np.int64], name: str, scale: float) -> NDArray[np.int64]:
    if scale == 1:
        return tokens
    if (longest := int(tokens.max())) * scale > MOST_TOKENS:
        raise InputError(
            f"wanted at most {MOST_TOKENS:,} tokens, got {longest:,} times {scale:g}: lower {name}"
        )
    scaled: NDArray[np.int64] = np.maximum(np.floor(tokens * scale + 0.5), 1).astype(np.int64)
    return scaled
