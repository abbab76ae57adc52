"""What the speedup and the best design depend on, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from adadecode.sim.cli.tables.layout import notes, table, titled
from adadecode.sim.core.number_format import percent, times
from adadecode.sim.hardware.latency_points import CORNERS
from adadecode.sim.limits.analysis import Limits
from adadecode.sim.limits.sensitivity import ASSUMPTIONS, rank_changes, tornado


def sensitivity_tables(limits: Limits) -> Iterator[RenderableType]:
    """Yield the speedup by each assumption and corner, and when another design is best."""
    change = f"{100 * limits.change:g} %"
    body = table("all else held", f"{change} less", f"{change} more", "effect")
    for row in tornado(limits.perturbations, limits.speedup):
        body.add_row(
            ASSUMPTIONS[row.assumption],
            times(row.less, 3),
            times(row.more, 3),
            percent(row.effect, 1),
        )
    yield titled("what does the speedup depend on?", body)
    if limits.corners:
        yield _corners(limits)
    yield from _best_nearby(limits)


def _corners(limits: Limits) -> RenderableType:
    """Return the speedup at every corner of the latencies' intervals, the lowest first."""
    speedups = {
        corner: float(limits.corners[corner].speedups()[0])
        for corner in CORNERS
        if corner in limits.corners
    }
    body = table("corner", "speedup")
    for corner, speedup in sorted(speedups.items(), key=lambda one: one[1]):
        body.add_row(corner.replace("_", " "), times(speedup, 3))
    return titled("at the corners of the latencies' intervals", body)


def _best_nearby(limits: Limits) -> Iterator[RenderableType]:
    """Yield the best of the design and its neighbours, and what would make another one best."""
    now = limits.bill.speedups()
    best, changes = rank_changes(limits.designs, now, limits.cases)
    this = "" if not best else f", this design {times(limits.speedup, 3)}"
    answer = (
        f"of {len(limits.designs)} designs nearby the best is {limits.designs[best].label} "
        f"({times(now[best], 3)}{this})"
    )
    if not changes:
        yield from notes([f"{answer}, also under every change above"])
        return
    yield from notes([f"{answer}, unless"])
    yield from notes(
        (
            f"{change.what.replace('_', ' ')}: {change.best} ({times(change.speedup, 3)} against "
            f"{times(change.before, 3)})"
            for change in changes
        ),
        indent=4,
    )
