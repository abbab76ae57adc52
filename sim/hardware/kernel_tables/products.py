"""The time of one product, from a table of products: as measured, or between measured shapes.

Between two widths of the table a product takes a time on the straight line between theirs. Bytes
and FLOPs of a product both grow evenly with either width, so this is the same as to carry its time
for each byte, or each FLOP, from one width to the other along what it costs besides. Nothing is
carried beyond the table (decision 0049).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import LatencyError
from adadecode.sim.hardware.kernel_tables.table_file import KernelRows

MEASURED, INTERPOLATED, COMPOSED, ESTIMATED = "measured", "interpolated", "composed", "estimated"
"""What a time rests on: a row of a table, rows on both sides of it, the sum of several kernels that
were measured, or bytes and FLOPs alone."""

BASES = (MEASURED, INTERPOLATED, COMPOSED, ESTIMATED)
"""All of these."""


class KernelTime(NamedTuple):
    """What some work takes, and what that rests on.

    Attributes:
        part: The work, such as ``qkv``.
        seconds: Its time.
        basis: `MEASURED`, `INTERPOLATED`, `COMPOSED` or `ESTIMATED`.
        note: The sizes that it was taken from, or how it was estimated.
        watts: What the device drew meanwhile; None where nobody measured it.
    """

    part: str
    seconds: float
    basis: str
    note: str = ""
    watts: float | None = None

    def to_dict(self) -> dict[str, str | float]:
        """Return it as a manifest holds it: without watts where there are none."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ProductTimes:
    """Times of products in one format.

    Attributes:
        table: The products, as `adadecode.sim.hardware.kernel_tables.tables` reads them.
    """

    table: KernelRows

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Every m of the table, rising."""
        return tuple(self._grids)

    def time(self, part: str, m: int, n: int, k: int) -> KernelTime:
        """Return the seconds of m rows of width k times a matrix of k x n.

        Args:
            part: Name of the product, for the record.
            m: Rows, one of `row_counts`.
            n: Width of the result.
            k: Width of the rows.

        Raises:
            LatencyError: If a size lies beyond the table, or the shapes around it are missing.
        """
        if m not in self._grids:
            raise LatencyError(
                f"no product of {m} rows in {self.table.source}: it has "
                f"{', '.join(map(str, self.row_counts))}"
            )
        (n_low, n_high), (k_low, k_high) = (
            _around(marks, size, f"{part} ({m} x {k} times {k} x {n})", name, self.table)
            for marks, size, name in ((self._n, n, "n"), (self._k, k, "k"))
        )
        corners = np.ix_((n_low, n_high), (k_low, k_high))
        along = (_share(self._n, n_low, n_high, n), _share(self._k, k_low, k_high, k))
        seconds = _on_plane(self._grids[m][corners], along)
        if not np.isfinite(seconds):
            raise LatencyError(
                f"no product around n={n}, k={k} of {m} rows in {self.table.source}, which "
                f"{part} needs: its shapes there were not measured"
            )
        drawn = None if self._watts is None else _on_plane(self._watts[m][corners], along)
        watts = drawn if drawn is not None and np.isfinite(drawn) else None
        if n_low == n_high and k_low == k_high:
            return KernelTime(part, seconds, MEASURED, f"n {n}, k {k}", watts)
        note = ", ".join(
            f"{name} {marks[low]}..{marks[high]}" if low != high else f"{name} {marks[low]}"
            for name, marks, low, high in (
                ("n", self._n, n_low, n_high),
                ("k", self._k, k_low, k_high),
            )
        )
        return KernelTime(part, seconds, INTERPOLATED, note, watts)

    def time_in_parts(self, part: str, m: int, n: int, k: int) -> KernelTime:
        """Return the seconds of a product that may be wider than the table.

        One that is wider is cut into equal parts that the table covers, one after the other: a few
        microseconds too slow for each cut.

        Args:
            part: As in `time`.
            m: Likewise.
            n: Likewise.
            k: Likewise.

        Raises:
            LatencyError: As `time`, but not for a large n.
        """
        count = ceil(n / self._n[-1])
        if count == 1:
            return self.time(part, m, n, k)
        one = self.time(part, m, ceil(n / count), k)
        note = f"{count} times n {ceil(n / count)}: {one.note}"
        return KernelTime(part, count * one.seconds, COMPOSED, note, one.watts)

    @cached_property
    def _n(self) -> list[int]:
        return sorted(self.table.rows["n"].unique().tolist())

    @cached_property
    def _k(self) -> list[int]:
        return sorted(self.table.rows["k"].unique().tolist())

    @cached_property
    def _grids(self) -> dict[int, NDArray[np.float64]]:
        """Seconds by m, in order of n and k; NaN where nothing was measured."""
        return self._by_rows("seconds")

    @cached_property
    def _watts(self) -> dict[int, NDArray[np.float64]] | None:
        """Watts likewise; None where the table has none at all."""
        rows = self.table.rows
        return self._by_rows("watts") if "watts" in rows and rows["watts"].notna().any() else None

    def _by_rows(self, column: str) -> dict[int, NDArray[np.float64]]:
        rows = self.table.rows
        return {
            m: rows[rows["m"] == m]
            .pivot_table(index="n", columns="k", values=column)
            .reindex(index=self._n, columns=self._k)
            .to_numpy(dtype=np.float64)
            for m in sorted(rows["m"].unique().tolist())
        }


def _on_plane(corners: NDArray[np.float64], along: tuple[float, float]) -> float:
    """Return what lies between the four corners of two n and two k, this far along either."""
    ends = corners[0] + (corners[1] - corners[0]) * along[0]
    return float(ends[0] + (ends[1] - ends[0]) * along[1])


def _around(
    marks: list[int], size: int, what: str, name: str, table: KernelRows
) -> tuple[int, int]:
    """Return the places of the marks on both sides of a size; twice the same where it is one.

    Raises:
        LatencyError: If it lies beyond them.
    """
    if not marks[0] <= size <= marks[-1]:
        raise LatencyError(
            f"no product as wide as {what} in {table.source}: {name} goes from {marks[0]} to "
            f"{marks[-1]} there, and nothing is carried beyond it"
        )
    high = bisect_left(marks, size)
    return (high, high) if marks[high] == size else (high - 1, high)


def _share(marks: list[int], low: int, high: int, size: int) -> float:
    """Return how far a size lies on the way from one mark to another."""
    return 0.0 if low == high else (size - marks[low]) / (marks[high] - marks[low])
