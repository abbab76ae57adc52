"""What it costs that sequences which decode together have unequal numbers of positions.

Tables hold sequences that are all alike. Others take the time of as many sequences of their mean
context. Where two groups of unequal lengths were measured, and the profile does not say to leave
that out, they take more: any sequences are taken for two groups with their mean, their spread and
their longest context, and these for a share of what it would cost more if all were as long as the
longest. The share comes from what was measured, by the number of sequences and the part of them
that is long, apart for steps with and without a prompt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.sim.serving.latency.attention_times import AttentionTimes


class Contexts(NamedTuple):
    """Sequences that decode, as two groups.

    Attributes:
        n_decode: All sequences.
        mean: Their mean context.
        longest: The context of the longer group.
        part: The part of the sequences that is in it.
    """

    n_decode: int
    mean: float
    longest: float
    part: float

    @classmethod
    def of(cls, contexts: Sequence[int]) -> Contexts:
        """Return two groups with the mean, the variance and the longest of some contexts."""
        squares = sum([one * one for one in contexts])
        return cls._of_sums(len(contexts), sum(contexts), squares, max(contexts))

    @classmethod
    def rising(cls, contexts: Sequence[int]) -> Iterator[Contexts]:
        """Yield the groups of some contexts, then of each one more, and so on without end."""
        count, total, longest = len(contexts), sum(contexts), max(contexts)
        squares = sum([one * one for one in contexts])
        while True:
            yield cls._of_sums(count, total, squares, longest)
            squares += 2 * total + count
            total, longest = total + count, longest + 1

    @classmethod
    def _of_sums(cls, count: int, total: int, squares: int, longest: int) -> Contexts:
        mean = total / count
        above = longest - mean
        if above <= 0:
            return cls(count, mean, float(longest), 1.0)
        spread = squares / count - mean * mean
        return cls(count, mean, float(longest), spread / (spread + above * above))


@dataclass(frozen=True, kw_only=True)
class _Shares:
    """The share by sequences and the part that is long, for one kind of step.

    Attributes:
        counts: Numbers of sequences, rising.
        parts: For each, parts that are long, rising; the last is 1.
        shares: For each of these, the share; that of part 1 is 0.
    """

    counts: tuple[float, ...]
    parts: tuple[NDArray[np.float64], ...]
    shares: tuple[NDArray[np.float64], ...]

    def at(self, count: float, part: float) -> float:
        """Return the share, on straight lines between what was measured."""
        high = min(bisect_right(self.counts, count), len(self.counts) - 1)
        low = max(high - 1, 0)
        ends = [
            float(np.interp(part, self.parts[place], self.shares[place])) for place in (low, high)
        ]
        if low == high:
            return ends[0]
        way = (count - self.counts[low]) / (self.counts[high] - self.counts[low])
        return ends[0] + (ends[1] - ends[0]) * min(max(way, 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class UnequalContexts:
    """How steps with unequal contexts are priced. Build it with `of`.

    Attributes:
        beside: The share where a prompt is computed beside; None where it was not measured.
        alone: The share elsewhere; likewise.
        error: Median error of the rule on what was measured, relative; None where nothing was.
    """

    beside: _Shares | None
    alone: _Shares | None
    error: float | None

    @classmethod
    def of(cls, rows: pd.DataFrame) -> UnequalContexts:
        """Learn the shares.

        Args:
            rows: Rows of the kind ``unequal`` of the table ``serving``.
        """
        beside, missed = _shares(rows[rows["chunk"] > 0])
        alone, more = _shares(rows[rows["chunk"] == 0])
        errors = np.concatenate([missed, more])
        return cls(
            beside=beside, alone=alone, error=float(np.median(errors)) if len(errors) else None
        )

    def seconds(
        self, times: AttentionTimes, chunk: float, cached: float, contexts: Contexts
    ) -> float:
        """Return the attention of a step, of one layer.

        Args:
            times: The attention of equal contexts.
            chunk: Tokens of the chunk of a prompt; 0 for none.
            cached: Positions before it.
            contexts: The sequences that decode.
        """
        count, mean, longest, part = contexts
        equal = times.at(chunk, cached, count, mean)
        shares = self.beside if chunk else self.alone
        if shares is None or part >= 1:
            return equal
        most = times.at(chunk, cached, count, longest)
        return max(equal + shares.at(count, part) * (most - equal), equal)


def _shares(rows: pd.DataFrame) -> tuple[_Shares | None, NDArray[np.float64]]:
    """Return the shares of one kind of step, and how far they miss each row, relative.

    Each share is the least-squares slope, through 0, of what unequal contexts cost more on what it
    costs more if all are as long, both over the time of equal ones.
    """
    if rows.empty:
        return None, np.empty(0)
    equal, more = rows["equal_seconds"], rows["seconds"] / rows["equal_seconds"] - 1
    most = rows["longest_seconds"] / equal - 1
    table = pd.DataFrame(
        {
            "count": rows["n_decode"].astype(float),
            "part": rows["n_long"] / rows["n_decode"],
            "top": more * most,
            "below": most * most,
        }
    )
    sums = table.groupby(["count", "part"])[["top", "below"]].sum()
    slopes = (sums["top"] / sums["below"].where(sums["below"] > 0)).clip(0, 1).fillna(0.0)
    by_count = {count: slopes.xs(count, level="count") for count in slopes.index.unique("count")}
    shares = _Shares(
        counts=tuple(by_count),
        parts=tuple(np.array([*one.index, 1.0]) for one in by_count.values()),
        shares=tuple(np.array([*one, 0.0]) for one in by_count.values()),
    )
    found = np.array([shares.at(*key) for key in zip(table["count"], table["part"], strict=True)])
    missed = np.abs((1 + found * most.to_numpy()) / (1 + more.to_numpy()) - 1)
    return shares, missed
