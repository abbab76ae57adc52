"""When requests arrive: random gaps, laid along a rate that may change with time.

Gaps are drawn with mean 1 and summed up. The sum is how many requests are expected by then, and
the rate turns it into seconds. So the same seed gives the same pattern at every rate, stretched:
two loads, or two deployments, differ by what they are, and not by their draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]

Gaps = Callable[[np.random.Generator, int], _Array]
"""Draws so many gaps of mean 1."""

_CHUNK = 4096
"""Gaps that are drawn at a time where a duration says how many there are."""


def exponential(rng: np.random.Generator, count: int) -> _Array:
    """Draw the gaps of a Poisson process: exponential."""
    return rng.exponential(size=count)


def equal(rng: np.random.Generator, count: int) -> _Array:  # noqa: ARG001 - as the others
    """Return equal gaps."""
    return np.ones(count)


def even(rng: np.random.Generator, count: int) -> _Array:
    """Draw gaps from 0 to twice the mean, each as likely."""
    return rng.uniform(0, 2, size=count)


def gamma(cv: float) -> Gaps:
    """Return gamma gaps of a coefficient of variation: above 1 they come in bunches."""
    shape = 1 / cv**2
    return lambda rng, count: rng.gamma(shape, 1 / shape, size=count)


def weibull(shape: float) -> Gaps:
    """Return Weibull gaps of a shape: below 1 they come in bunches."""
    mean = math.gamma(1 + 1 / shape)
    return lambda rng, count: rng.weibull(shape, size=count) / mean


class Rate(Protocol):
    """How many requests a second are expected."""

    def seconds(self, expected: _Array) -> _Array:
        """Return by when so many requests are expected, in seconds from the beginning."""
        ...


@dataclass(frozen=True)
class Steady:
    """The same rate all the time, in requests per second."""

    rate: float

    def seconds(self, expected: _Array) -> _Array:
        """Return by when so many requests are expected."""
        return expected / self.rate


@dataclass(frozen=True)
class Ramp:
    """A rate that goes from ``start`` to ``end`` in ``over`` seconds, and stays there."""

    start: float
    end: float
    over: float

    def seconds(self, expected: _Array) -> _Array:
        """Return by when so many requests are expected."""
        in_ramp = (self.start + self.end) / 2 * self.over
        inside = np.minimum(expected, in_ramp)
        slope = (self.end - self.start) / self.over
        # The root of start * t + slope * t^2 / 2 = expected, in the form that stands slope 0.
        root = np.sqrt(np.maximum(self.start**2 + 2 * slope * inside, 0))
        with np.errstate(invalid="ignore"):
            ramp = np.where(inside > 0, 2 * inside / (self.start + root), 0.0)
        return np.where(expected < in_ramp, ramp, self.over + (expected - in_ramp) / self.end)


@dataclass(frozen=True)
class Bursts:
    """The rate ``peak`` in the first ``lasting`` of every ``every`` seconds, and else ``rate``."""

    rate: float
    peak: float
    every: float
    lasting: float

    def seconds(self, expected: _Array) -> _Array:
        """Return by when so many requests are expected."""
        in_burst = self.peak * self.lasting
        each = in_burst + self.rate * (self.every - self.lasting)
        turns, rest = np.divmod(expected, each)
        after = self.lasting + (rest - in_burst) / self.rate
        return turns * self.every + np.where(rest < in_burst, rest / self.peak, after)


@dataclass(frozen=True)
class ArrivalProcess:
    """Random gaps along a rate.

    Attributes:
        gaps: Draws gaps of mean 1.
        rate: What turns their sum into seconds.
    """

    gaps: Gaps
    rate: Rate

    def times(
        self, rng: np.random.Generator, count: int | None, duration_s: float | None
    ) -> _Array:
        """Return when requests arrive, in seconds, rising. The first comes after the first gap.

        Args:
            rng: Draws.
            count: How many there are; None where the duration says.
            duration_s: All arrive before that; None where the count says.
        """
        if duration_s is None:
            return self.rate.seconds(np.cumsum(self.gaps(rng, count or 0)))
        expected, parts, left = 0.0, [], math.inf if count is None else count
        while left > 0:
            sums = expected + np.cumsum(self.gaps(rng, _CHUNK))
            found = self.rate.seconds(sums)
            kept = found[found < duration_s][: int(min(left, _CHUNK))]
            parts.append(kept)
            if len(kept) < _CHUNK:
                break
            left -= len(kept)
            expected = float(sums[-1])
        return np.concatenate(parts)
