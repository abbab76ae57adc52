"""A law for the attention of one layer in a step.

A start, and then the longer of two: the longest sequence, which is read position by position, and
all work together, which is spread over the device. Near the point where both are as long they take
longer than either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

Array = NDArray[np.float64]

_FURTHEST = 80.0
"""Largest logarithm of a number of the law, either way."""

_LEAST = 1e-4
"""Smallest share of a time that each term begins the fit with."""


@dataclass(frozen=True, kw_only=True)
class AttentionLaw:
    """The law. Fit it with `of`.

    Sizes are the tokens of a chunk, the positions before it, the sequences that decode, and the
    positions of each.

    Attributes:
        start: Seconds before anything else.
        position: Seconds of one position of the longest sequence.
        work: Seconds of any work at all, of a token of the chunk, of a pair of a token and a
            position that it sees, of a sequence, and of a position of a sequence.
        sharpness: How sharp the bend is between both; 1 adds them up.
    """

    start: float
    position: float
    work: tuple[float, float, float, float, float]
    sharpness: float

    @classmethod
    def of(cls, sizes: Array, seconds: Array) -> AttentionLaw:
        """Fit the law to relative errors, of which large ones count less than their square.

        Args:
            sizes: The four sizes of each point, (points, 4).
            seconds: Their times.
        """
        terms = np.stack(_terms(*sizes.T), axis=1) / seconds[:, None]
        longest = np.maximum(_longest(*sizes.T), 1.0)
        additive, _ = nnls(terms, np.ones(len(seconds)))
        usual = np.median(np.where(terms > 0, terms, np.nan)[:, :1], axis=0)
        least = _LEAST / np.maximum(terms.max(axis=0), usual)
        begin = np.log(
            [
                _LEAST * float(np.median(seconds)),
                float(np.min(seconds / longest)) / 2,
                *np.maximum(additive, least),
                2.0,
            ]
        )

        def misses(logs: Array) -> Array:
            found: Array = np.log(cls._with(logs).many(sizes) / seconds)
            return found

        fitted = least_squares(misses, begin, loss="soft_l1", f_scale=0.1, max_nfev=300)
        return cls._with(fitted.x)

    @classmethod
    def _with(cls, logs: Array) -> AttentionLaw:
        """Return the law of the logarithms of its numbers."""
        numbers = np.exp(np.clip(logs, -_FURTHEST, _FURTHEST)).tolist()
        start, position, w0, w1, w2, w3, w4, sharpness = numbers
        return cls(
            start=start,
            position=position,
            work=(w0, w1, w2, w3, w4),
            sharpness=min(max(sharpness, 1.0), 20.0),
        )

    def many(self, sizes: Array) -> Array:
        """Return the seconds of several points, (points, 4)."""
        work = sum(weight * term for weight, term in zip(self.work, _terms(*sizes.T), strict=True))
        chain = self.position * _longest(*sizes.T)
        power = self.sharpness
        high = np.maximum(np.maximum(work, chain), np.finfo(np.float64).tiny)
        both: Array = (chain / high) ** power + (work / high) ** power
        return self.start + high * both ** (1 / power)

    def by_context(self, chunk: float, cached: float, count: float) -> Callable[[float], float]:
        """Return the seconds by context, for fixed other sizes, as `many` gives them."""
        w0, w1, w2, w3, w4 = self.work
        start, position, power = self.start, self.position, self.sharpness
        most, root = w0 + chunk * (w1 + w2 * (cached + chunk / 2)), 1 / self.sharpness
        longest = cached + chunk

        def at(context: float) -> float:
            work = most + count * (w3 + w4 * context)
            chain = position * max(longest, context)
            high = max(work, chain)
            both: float = (chain / high) ** power + (work / high) ** power
            found: float = start + high * both**root
            return found

        return at

    def at(self, chunk: float, cached: float, count: float, context: float) -> float:
        """Return the seconds of one point, as `many` does."""
        return self.by_context(chunk, cached, count)(context)


def _terms(chunk: Array, cached: Array, count: Array, context: Array) -> tuple[Array, ...]:
    return np.ones_like(chunk), chunk, chunk * (cached + chunk / 2), count, count * context


def _longest(chunk: Array, cached: Array, _count: Array, context: Array) -> Array:
    longest: Array = np.maximum(cached + chunk, context)
    return longest
