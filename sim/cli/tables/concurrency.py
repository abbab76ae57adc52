"""The limits of a design with several users and on other bandwidths, for people."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from rich.console import RenderableType
from rich.text import Text

from adadecode.sim.cli.tables.layout import notes, table, titled
from adadecode.sim.core.number_format import times
from adadecode.sim.limits.analysis import Limits
from adadecode.sim.limits.concurrency import Load

_CASES = (
    ("together", "if every piece of work falls together"),
    ("alone", "if no piece of work ever does, and vanilla's always"),
)
"""The two bounds on several users, in words."""


def batch_tables(limits: Limits) -> Iterator[RenderableType]:
    """Yield the speedup by users at once, and up to how many it pays."""
    body = table(
        "users", "tokens at once", "best case: in step", "worst case: never together", names=True
    )
    for row in limits.batches.rows:
        body.add_row(f"{row.users}", f"{row.tokens}", _together(row), times(row.alone))
    yield titled("how many users at once?", body)
    yield from notes(_pays_up_to(limits, bound, case) for bound, case in _CASES)
    yield from notes(limits.batches.notes)


def _together(row: Load) -> str:
    low, high = row.together
    return times(low) if low == high else f"{low:.2f} .. {times(high)}"


def _pays_up_to(limits: Limits, bound: str, case: str) -> str:
    """Return up to how many users it pays in one of the cases, as a sentence."""
    batches = limits.batches
    most = batches.pays_up_to(bound)
    if not most:
        answer = "it does not pay"
    else:
        answer = f"it pays up to {most} user{'s' * (most != 1)}"
    if bound == "together":
        if any(row.tokens > batches.largest for row in batches.rows):
            answer += " for certain"
        if batches.stops_at is not None:
            answer += f", and no longer at {batches.stops_at}"
    return f"{case}, {answer}"


def bandwidth_tables(limits: Limits) -> Iterator[RenderableType]:
    """Yield the speedup on devices with another bandwidth, or why it is not known."""
    found = limits.bandwidths
    if isinstance(found, str):
        yield Text("what if the device had another bandwidth?", style="italic")
        yield from notes([found])
        return
    body = table("times", *(str(Fraction(factor)) for factor in found.speedups))
    body.add_row("speedup", *(times(speedup) for speedup in found.speedups.values()))
    yield titled("what if the device had another bandwidth, and the same FLOP/s?", body)
    if found.break_evens:
        yield from notes(
            f"break-even at {factor:.2f} times the bandwidth" for factor in found.break_evens
        )
    else:
        yield from notes([f"it {'pays' if limits.speedup > 1 else 'does not pay'} at all of them"])
