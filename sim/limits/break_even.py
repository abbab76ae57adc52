"""How much costlier a kind of work may become until a design stops paying.

Prices are linear, so that this is a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.limits.time_breakdown import WORK_KINDS, Bill

PAYS = ("below", "above", "always", "never")


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """Where a design stops being faster than vanilla, as one kind of work becomes costlier.

    Attributes:
        kind: The kind of work, every piece of which takes ``factor`` times as long for both.
        seconds: Seconds per token that the design spends on it now.
        vanilla: Seconds per token that vanilla spends on it now.
        pays: Whether the design pays "below" or "above" the factor, or "always" or "never",
            whatever the factor from 0 on.
        factor: The factor; None where the design pays always or never.
        low: Lower end of the factor over all corners of a device's intervals; None without
            intervals, and where the corners do not agree on which side pays.
        high: Upper end of the factor.
    """

    kind: str
    seconds: float
    vanilla: float
    pays: str
    factor: float | None
    low: float | None = None
    high: float | None = None


def break_even(
    seconds: Sequence[float] | NDArray[np.float64],
    vanilla: Sequence[float] | NDArray[np.float64],
    kind: str,
) -> BreakEven:
    """Find the break-even of one design.

    A factor f makes both equally fast where rest + f share = 0. Here rest and share are what the
    design saves on every other kind and on this one.

    Args:
        seconds: Seconds per token of the design by kind of work, shape ``(n_kinds,)``.
        vanilla: The same of vanilla.
        kind: The kind that becomes costlier.
    """
    place = list(WORK_KINDS).index(kind)
    ours, theirs = float(seconds[place]), float(vanilla[place])
    share = theirs - ours
    rest = math.fsum(vanilla) - theirs - (math.fsum(seconds) - ours)
    factor = None
    if share == 0:
        pays = "always" if rest > 0 else "never"
    elif share < 0:
        pays = "below" if rest > 0 else "never"
    else:
        pays = "above" if rest < 0 else "always"
    if pays in ("below", "above"):
        factor = -rest / share
    return BreakEven(kind=kind, seconds=ours, vanilla=theirs, pays=pays, factor=factor)


def break_evens(bill: Bill, corners: Iterable[Bill] = ()) -> list[BreakEven]:
    """Find the break-even of the first design of a bill, for every kind that takes any time.

    Args:
        bill: What vanilla and the design spend their time on.
        corners: The same at the corners of the device's intervals, for an interval.
    """
    others = list(corners)
    found = []
    for place, kind in enumerate(WORK_KINDS):
        if not bill.seconds[:2, place].any():
            continue
        middle = break_even(bill.seconds[1], bill.vanilla, kind)
        ends = [break_even(other.seconds[1], other.vanilla, kind) for other in others]
        found.append(_with_ends(middle, ends))
    return found


def _with_ends(middle: BreakEven, ends: Sequence[BreakEven]) -> BreakEven:
    """Add the interval over corners.

    A design that does not even pay where this work costs nothing has its limit at 0.
    """
    sides = {end.pays for end in ends} - {"never"}
    if (
        not ends
        or middle.factor is None
        or sides != {middle.pays}
        or (middle.pays == "above" and any(end.factor is None for end in ends))
    ):
        return middle
    factors = [end.factor or 0.0 for end in ends]
    return BreakEven(
        kind=middle.kind,
        seconds=middle.seconds,
        vanilla=middle.vanilla,
        pays=middle.pays,
        factor=middle.factor,
        low=min(factors),
        high=max(factors),
    )
