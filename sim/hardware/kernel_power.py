"""The joules of work whose kernels' power was measured, as some kernel tables hold it.

Work draws the mean of its kernels' power, by their seconds. A kernel whose power nobody measured
draws as much as the others of the same work, and between its least and the power limit at the ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from adadecode.profiles.latency import LatencyTable
from adadecode.sim.hardware.kernel_parts import Parts, Place, points_of
from adadecode.sim.hardware.kernel_tables.products import KernelTime
from adadecode.sim.hardware.power import POWER
from adadecode.sim.hardware.roofline import Interval

SENSOR = 0.05
"""Relative error of a GPU's own power reading.

NVIDIA's documentation of ``nvmlDeviceGetPowerUsage`` says that it is within 5 % of what is drawn.
"""

ENDS = ("low", "middle", "high")
"""The tables that `kernel_joules` returns."""


def kernel_joules(
    pieces: Mapping[Place, Parts], table: LatencyTable, limit: float | None, n_devices: int = 1
) -> Mapping[str, LatencyTable]:
    """Return the joules of work, as tables that hold them in the place of seconds.

    Args:
        pieces: The kernels of each piece of work.
        table: The latencies, whose middle the joules are of.
        limit: Power limit of one device in watts; None where it is unknown.
        n_devices: How many devices share the work, each of which draws as much.

    Returns:
        A table for each of `ENDS`; nothing where no power was measured, or the limit is unknown.
    """
    known = [part for parts in pieces.values() for part in parts if part.watts is not None]
    if not known or limit is None:
        return {}
    usual = _mean_watts(known)
    drawn = partial(_drawn, usual=usual, limit=limit, n_devices=n_devices)
    points = points_of(table, pieces, drawn)
    tables = points.tables()
    return {end: tables[end] for end in ENDS}


def _mean_watts(parts: list[KernelTime]) -> float:
    """Return the mean power of kernels, all of which was measured, by their seconds."""
    joules = sum(part.seconds * (part.watts or 0.0) for part in parts)
    return joules / sum(part.seconds for part in parts)


def _drawn(parts: Parts, seconds: float, *, usual: float, limit: float, n_devices: int) -> Interval:
    """Return the joules of a piece of work, within the power limit."""
    known = [part for part in parts if part.watts is not None]
    middle = _mean_watts(known) if known else usual
    total = sum(part.seconds for part in parts)
    share = sum(part.seconds for part in known) / total if known else 0.0
    least, most = POWER["low"].awake_share * limit, limit
    watts = (
        share * (1 - SENSOR) * middle + (1 - share) * min(least, middle),
        middle,
        share * (1 + SENSOR) * middle + (1 - share) * max(most, middle),
    )
    low, drawn, high = (n_devices * seconds * min(limit, each) for each in watts)
    return Interval(low=low, middle=drawn, high=high)
