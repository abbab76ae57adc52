"""How long drawn requests are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads.workload import MOST_TOKENS

Lengths = NDArray[np.int64]

FORMS = "512, 100..900 (each as likely), lognormal:MEAN/CV or geometric:MEAN"
"""How the length of a prompt or an output may be given, for messages."""


class LengthDraw(Protocol):
    """Draws lengths in tokens."""

    def draw(self, rng: np.random.Generator, count: int) -> Lengths:
        """Return so many lengths, 1 or more each."""
        ...


@dataclass(frozen=True)
class Between:
    """Whole numbers from ``low`` to ``high``, each as likely; one number where they are equal."""

    low: int
    high: int

    def draw(self, rng: np.random.Generator, count: int) -> Lengths:
        """Return so many lengths."""
        return rng.integers(self.low, self.high, size=count, endpoint=True)


@dataclass(frozen=True)
class LogNormal:
    """A lognormal length of this mean and coefficient of variation, rounded, at least 1."""

    mean: float
    cv: float

    def draw(self, rng: np.random.Generator, count: int) -> Lengths:
        """Return so many lengths."""
        variance = math.log1p(self.cv**2)
        found = rng.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance), size=count)
        return np.clip(np.floor(found + 0.5), 1, MOST_TOKENS).astype(np.int64)


@dataclass(frozen=True)
class Geometric:
    """A geometric length of this mean: every token is the last with the same probability."""

    mean: float

    def draw(self, rng: np.random.Generator, count: int) -> Lengths:
        """Return so many lengths."""
        return np.minimum(rng.geometric(1 / self.mean, size=count), MOST_TOKENS)


def parse_length(option: str, text: str) -> LengthDraw:
    """Return how a length is drawn.

    Args:
        option: Name of the option, for the message.
        text: What the user typed: ``512``, ``100..900``, ``lognormal:512/0.8`` (mean and
            coefficient of variation) or ``geometric:128`` (mean).

    Raises:
        InputError: If it has another form, or allows lengths below 1.
    """
    name, _, rest = text.partition(":")
    try:
        if name == "lognormal" and rest:
            mean, cv = (float(part) for part in rest.split("/"))
            if 1 <= mean <= MOST_TOKENS and 0 < cv <= 100:
                return LogNormal(mean, cv)
        elif name == "geometric" and rest:
            if 1 <= float(rest) <= MOST_TOKENS:
                return Geometric(float(rest))
        elif not rest:
            low, dots, high = text.partition("..")
            ends = int(low), int(high if dots else low)
            if 1 <= ends[0] <= ends[1] <= MOST_TOKENS:
                return Between(*ends)
    except ValueError:
        pass
    raise InputError(f"wanted {option} as {FORMS}, with 1 token or more, got {text!r}")


def draw_pairs(
    pairs: Sequence[tuple[int, int]], rng: np.random.Generator, count: int
) -> tuple[Lengths, Lengths]:
    """Return the lengths of prompts and outputs, drawn from those of a trace.

    A prompt stays with its output. Each draw is from all of them, so one may come twice.

    Args:
        pairs: Tokens of the prompt and of the output of each request of the trace.
        rng: Draws.
        count: How many requests.

    Raises:
        InputError: If there is none to draw from.
    """
    if not pairs:
        raise InputError("wanted lengths to draw from, got none: give a trace with requests")
    table = np.array(pairs, dtype=np.int64)
    if table.ndim != 2 or table.shape[1] != 2 or (table < 1).any():
        raise InputError(
            "wanted lengths as pairs of tokens, 1 or more, of the prompt and the output, got "
            f"{str(pairs[0])[:60]} as the first"
        )
    drawn = table[rng.integers(len(table), size=count)]
    return drawn[:, 0], drawn[:, 1]
