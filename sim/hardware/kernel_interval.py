"""How far work that was put together from kernels may be off, on the device they were measured on.

A profile of kernel tables says of each part of each piece of work what it rests on. Each basis has
its own error, which was measured by leaving shapes out and by comparing tables with each other
(docs/decisions/0059). Parts are wrong together, so that their ends add up.
"""

from __future__ import annotations

from collections.abc import Mapping

from adadecode.profiles.latency import LatencyTable
from adadecode.sim.hardware.kernel_parts import Parts, Place, points_of
from adadecode.sim.hardware.kernel_tables.products import (
    COMPOSED,
    ESTIMATED,
    INTERPOLATED,
    MEASURED,
)
from adadecode.sim.hardware.roofline import UNMEASURED, Interval

REPEATED = 0.05
"""Relative error of what was measured.

Nine in ten layers of the same shapes took that much longer or shorter under another version of the
engine, on an H100 (5.4 %) and on an H200 (4.6 %).
"""

BETWEEN = 0.07
"""Relative error of the products of a layer that lie between measured shapes, all together.

Nine in ten lie within it, on the worst device: an A100 (6.9 %; an H100 4.6 and 5.1 %, an H200 5.3
and 6.9 %), where each width was left out and asked of its neighbours, which are twice as far then.
"""

REGROUPED_BELOW = 0.3
"""How much shorter attention may be than that of regrouped heads, one in ten of which is as far."""

SEVERAL_ABOVE = 2.65
"""How much longer than one token several tokens of a sequence may attend, as a share of its time.

A kernel that does not share the context out takes 73 us for 16 tokens behind 2,048 positions, and
20 us for one (decision 0049).
"""

_SPREADS: Mapping[str, tuple[float, float]] = {
    MEASURED: (REPEATED, REPEATED),
    INTERPOLATED: (BETWEEN, BETWEEN),
    COMPOSED: (BETWEEN, BETWEEN),
    ESTIMATED: (UNMEASURED, UNMEASURED),
}
"""By basis, by which share of a time the truth may lie below it, and above."""

_ATTENTION: Mapping[str, tuple[float, float]] = {
    COMPOSED: (REGROUPED_BELOW, BETWEEN),
    ESTIMATED: (BETWEEN, SEVERAL_ABOVE),
}
"""The same of attention, where it is other."""


def kernel_tables(pieces: Mapping[Place, Parts], table: LatencyTable) -> Mapping[str, LatencyTable]:
    """Return latencies by corner of their intervals.

    Args:
        pieces: The kernels that they were put together from.
        table: The latencies.

    Returns:
        A table for each of `adadecode.sim.hardware.latency_points.CORNERS`; "middle" alone where
        there are no kernels.
    """
    return points_of(table, pieces, _interval).tables() if pieces else {"middle": table}


def _interval(parts: Parts, seconds: float) -> Interval:
    """Return the ends of a piece of work of these parts."""
    total = sum(part.seconds for part in parts)
    if not total:
        return Interval.exactly(seconds)
    below, above = (
        sum(part.seconds * spread_of(part.part, part.basis)[end] for part in parts) / total
        for end in (0, 1)
    )
    return Interval(low=(1 - below) * seconds, middle=seconds, high=(1 + above) * seconds)


def spread_of(part: str, basis: str) -> tuple[float, float]:
    """Return by which shares of its time the truth may lie below and above a part of some work.

    Args:
        part: Its name, such as ``qkv``.
        basis: What it rests on.
    """
    known = _SPREADS[basis]
    return _ATTENTION.get(basis, known) if part == "attention" else known
