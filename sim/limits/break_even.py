"""How many times as dear a kind of work may become until a design stops paying. Prices are linear, so this is a closed form."""

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
    """Where a design stops being faster than vanilla, if every piece of one kind of work takes ``factor`` times as long, for both of them.

    seconds, vanilla: of this kind per token. pays: "below" or "above" the factor, "always" or "never", whatever the factor from 0 on (None then).
    low, high: ends of the factor over all corners of a device's intervals; None where nothing tells, or where they do not agree on which side pays.
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
    """Of one design and vanilla, [KINDS] each.

    A factor f leaves vanilla ahead by nothing where rest + f share = 0, rest and share being what the design saves on every other kind and on this one.
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
    """Of the first design of a bill, for every kind that it or vanilla spends time on; with an interval where there are corners."""
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
    """A design that does not even pay where this costs nothing has its limit at 0."""
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
