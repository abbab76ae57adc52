"""Times of attention that were measured on a union of grids, and those between and beside them.

A law is fitted to all points. What is interpolated is the ratio of a time to the law, which changes
slowly: a curve between two marks stays one, and a hole takes the ratio of its surroundings.
Measured points are given exactly.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.latency.attention_law import Array, AttentionLaw

MOST_CELLS = 8_000_000
"""Cells of the largest grid: 64 MB, and as much again several times while it is filled."""

ONE_SIDED = 4.0
"""How much less a hole trusts an axis along which there are points on one side only."""

ByContext = Callable[[Iterable[float]], list[float]]
"""Returns the seconds of several contexts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilledGrid:
    """Times by the four sizes of `AttentionLaw`. Build it with `of`.

    Attributes:
        marks: The sizes along each axis, rising.
        ratios: Time over law at every cell, the holes filled.
        measured: Which cells were measured.
        law: The law.
    """

    marks: tuple[tuple[float, ...], ...]
    ratios: Array
    measured: NDArray[np.bool_]
    law: AttentionLaw
    _known: dict[float, ByContext] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, sizes: Array, seconds: Array) -> FilledGrid:
        """Fit the law, and fill the grid that the sizes span.

        Args:
            sizes: The four sizes of each point, (points, 4). Of points alike the median counts.
            seconds: Their times.

        Raises:
            LatencyError: If the sizes span too many cells.
        """
        axes = [np.unique(column) for column in sizes.T]
        shape = tuple(len(axis) for axis in axes)
        if int(np.prod(shape, dtype=np.int64)) > MOST_CELLS:
            raise LatencyError(
                f"wanted attention on grids that have sizes in common, got {len(sizes):,} points "
                f"that span {' x '.join(map(str, shape))} cells: leave single points out"
            )
        law = AttentionLaw.of(sizes, seconds)
        places = tuple(
            np.searchsorted(axis, column) for axis, column in zip(axes, sizes.T, strict=True)
        )
        logs = _medians(np.log(seconds / law.many(sizes)), places, shape)
        return cls(
            marks=tuple(tuple(axis.tolist()) for axis in axes),
            ratios=np.exp(_filled(logs, [np.log2(1 + axis) for axis in axes])),
            measured=np.isfinite(logs),
            law=law,
        )

    def __getstate__(self) -> dict[str, object]:
        """Return what another process is to know: no functions."""
        return {**self.__dict__, "_known": {}}

    def at(self, chunk: float, cached: float, count: float, context: float) -> float:
        """Return the seconds at some sizes.

        Below and above the marks the ratio of the nearest one holds, and the law goes on.
        """
        return self.by_context(chunk, cached, count)((context,))[0]

    def by_context(self, chunk: float, cached: float, count: float) -> ByContext:
        """Return the seconds by context, for fixed other sizes."""
        if chunk:
            return self._by_context(chunk, cached, count)
        # Sequences that decode alone have the same sizes again and again.
        found = self._known.get(count)
        if found is None:
            found = self._known[count] = self._by_context(chunk, cached, count)
        return found

    def _by_context(self, chunk: float, cached: float, count: float) -> ByContext:
        fixed = (chunk, cached, count)
        ends = [_around(marks, size) for marks, size in zip(self.marks, fixed, strict=False)]
        rows = [
            (a * b * c, self.ratios[one, two, three].tolist())
            for (one, a), (two, b), (three, c) in product(*ends)
        ]
        law, marks = self.law.by_context(chunk, cached, count), self.marks[3]

        def at(contexts: Iterable[float]) -> list[float]:
            found = []
            low = high = -math.inf
            for context in contexts:
                if not low < context < high:
                    low, high, start, width, between = _between(marks, rows, context)
                share = (context - start) / width
                ratio = 0.0
                for weight, left, right in between:
                    ratio += weight * (1.0 - share) * left
                    ratio += weight * share * right
                found.append(law(context) * ratio)
            return found

        return at

    def reaches(self, *sizes: float) -> bool:
        """Whether no size lies above the marks."""
        return all(size <= marks[-1] for size, marks in zip(sizes, self.marks, strict=True))


def _between(
    marks: tuple[float, ...], rows: Iterable[tuple[float, list[float]]], context: float
) -> tuple[float, float, float, float, list[tuple[float, float, float]]]:
    """Return what holds around a context.

    Args:
        marks: The contexts that were measured.
        rows: A weight, and the ratio at each of them.
        context: The context.

    Returns:
        Between which contexts it holds; the one from which the share of the way is counted, and how
        long the way is; the weight of each row, and its ratios at both ends.
    """
    if context <= marks[0] or context >= marks[-1]:
        below = context <= marks[0]
        ends = (-math.inf, marks[0]) if below else (marks[-1], math.inf)
        place = 0 if below else -1
        return *ends, 0.0, math.inf, [(weight, row[place], row[place]) for weight, row in rows]
    low = bisect_right(marks, context) - 1
    start, end = marks[low], marks[low + 1]
    between = [(weight, row[low], row[low + 1]) for weight, row in rows]
    return start, end, start, end - start, between


def _around(marks: tuple[float, ...], size: float) -> tuple[tuple[int, float], ...]:
    """Return the places of the marks around a size, each with its weight."""
    if size <= marks[0]:
        return ((0, 1.0),)
    if size >= marks[-1]:
        return ((len(marks) - 1, 1.0),)
    low = bisect_right(marks, size) - 1
    share = (size - marks[low]) / (marks[low + 1] - marks[low])
    return ((low, 1.0 - share), (low + 1, share)) if share else ((low, 1.0),)


def _medians(values: Array, places: tuple[NDArray[np.intp], ...], shape: tuple[int, ...]) -> Array:
    """Return the median of the values at each cell; NaN where there is none."""
    cells = np.ravel_multi_index(places, shape)
    order = np.lexsort((values, cells))
    known, first, counts = np.unique(cells[order], return_index=True, return_counts=True)
    low, high = first + (counts - 1) // 2, first + counts // 2
    grid = np.full(int(np.prod(shape)), np.nan)
    grid[known] = (values[order][low] + values[order][high]) / 2
    return grid.reshape(shape)


def _filled(grid: Array, axes: list[Array]) -> Array:
    """Return a grid whose holes lie between their nearest neighbours along each axis.

    Near neighbours count more, and two sides more than one. What is filled in one pass helps to
    fill the next.
    """
    grid = grid.copy()
    while (holes := np.isnan(grid)).any():
        total, weight = np.zeros_like(grid), np.zeros_like(grid)
        for axis, marks in enumerate(axes):
            value, trust = _along(np.moveaxis(grid, axis, -1), marks)
            total += np.moveaxis(value * trust, -1, axis)
            weight += np.moveaxis(trust, -1, axis)
        found = holes & (weight > 0)
        grid[found] = total[found] / weight[found]
    return grid


def _along(lines: Array, marks: Array) -> tuple[Array, Array]:
    """Return what each hole would be along the last axis, and how far to trust that."""
    count = len(marks)
    known = np.isfinite(lines)
    places = np.arange(count)
    below = np.maximum.accumulate(np.where(known, places, -1), axis=-1)
    above = np.minimum.accumulate(np.where(known, places, count)[..., ::-1], axis=-1)[..., ::-1]
    has_below, has_above = below >= 0, above < count
    below, above = np.maximum(below, 0), np.minimum(above, count - 1)
    low, high = (np.take_along_axis(lines, at, axis=-1) for at in (below, above))
    down, up = marks - marks[below], marks[above] - marks
    both = has_below & has_above & ~known
    value, trust = np.zeros_like(lines), np.zeros_like(lines)
    np.divide(low * up + high * down, down + up, out=value, where=both)
    np.divide(down + up, down * up, out=trust, where=both)
    for only, there, away in (
        (has_below & ~has_above, low, down),
        (has_above & ~has_below, high, up),
    ):
        value = np.where(only, there, value)
        np.divide(1.0, ONE_SIDED * away, out=trust, where=only)
    return value, trust
