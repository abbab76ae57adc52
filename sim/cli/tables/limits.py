"""The limits of a design for people: a table for each question, and what it comes to in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from adadecode.sim.hardware.latency_points import CORNERS
from adadecode.sim.limits.analysis import Limits
from adadecode.sim.limits.break_even import BreakEven
from adadecode.sim.limits.concurrency import Load
from adadecode.sim.limits.sensitivity import ASSUMPTIONS, tornado, turns
from adadecode.sim.limits.time_breakdown import WORK_KINDS
from adadecode.sim.replay.kernel import CHECK


def limits_tables(limits: Limits) -> Iterator[RenderableType]:
    """Everything, in the order it is read."""
    latencies = limits.scenario.latencies
    basis = {"measured": "", "carried": ", carried there", "datasheet": ", from its datasheet"}[
        latencies.basis
    ]
    hypothetical = " (hypothetical)" if limits.scenario.hypothetical else ""
    vanilla, ours = limits.bill.tpots[:2]
    yield Text(
        f"{limits.design.label} on {latencies.device}{basis}{hypothetical}: {limits.speedup:.3f} x "
        f"({ours * 1e3:.3f} ms a token, vanilla {vanilla * 1e3:.3f}; {limits.prompts} prompts)"
    )
    yield from _costs(limits)
    yield from _acceptance(limits)
    yield from _batches(limits)
    yield from _bandwidths(limits)
    yield from _worst(limits)
    yield from _sensitivity(limits)
    yield from _lines(limits.scenario.notes)


def _table(title: str, *columns: str) -> Table:
    """The first column is of words, the others of numbers."""
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left")
    return table


def _lines(notes: Iterable[str]) -> Iterator[RenderableType]:
    return (Padding(Text(f"- {note}"), (0, 0, 0, 1)) for note in notes)


def _costs(limits: Limits) -> Iterator[RenderableType]:
    table = _table(
        "how dear may it become, for vanilla too?",
        "work",
        "ms a token",
        "vanilla's",
        "pays at",
        "interval",
    )
    for cost in limits.costs:
        interval = (
            "" if cost.low is None or cost.high is None else f"{cost.low:.2f} .. {cost.high:.2f}"
        )
        table.add_row(
            WORK_KINDS[cost.kind],
            f"{cost.seconds * 1e3:.3f}",
            f"{cost.vanilla * 1e3:.3f}",
            _pays(cost),
            interval,
        )
    yield table
    heads = next((cost for cost in limits.costs if cost.kind == "heads"), None)
    checks = int(limits.bill.work.total(CHECK)[1])
    if heads is None or not checks:
        return
    tokens = int(limits.bill.work.tally("tokens")[1]) - limits.prompts
    check, layer = (
        heads.seconds * tokens / checks,
        limits.bill.vanilla[0] / limits.scenario.trace.n_layers,
    )
    most = (
        ""
        if heads.factor is None
        else f", and may take {heads.factor * check * 1e3:.3f} ms, or {heads.factor * check / layer:.2f}"
    )
    yield from _lines(
        [
            f"a head check takes {check * 1e3:.3f} ms, or {check / layer:.2f} layers of one token{most}"
        ]
    )


def _pays(cost: BreakEven) -> str:
    if cost.factor is None:
        return {"always": "anything", "never": "never"}[cost.pays]
    return f"{'<' if cost.pays == 'below' else '>'} {cost.factor:.2f} x"


def _acceptance(limits: Limits) -> Iterator[RenderableType]:
    table = _table("how wrong may the heads be?", "", "now", "at break-even")
    recorded = limits.unaware
    then, notes = recorded.then, []
    if then is None:
        notes.append(
            "whatever share of the recorded answers is wrong or right, it "
            + ("pays" if recorded.now.speedup > 1 else "does not pay")
        )
    else:
        what, share = (
            ("right answers gone wrong", recorded.wrong)
            if recorded.right is None
            else ("wrong answers put right", recorded.right)
        )
        table.add_row(f"{what}, as sure as before", "0.0%", f"{share:.1%}")
    table.add_row(
        "  of drafts discarded",
        f"{recorded.now.discarded:.1%}",
        "-" if then is None else f"{then.discarded:.1%}",
        end_section=True,
    )
    fitted = limits.fitted
    if isinstance(fitted, str):
        notes.append(f"no heads could be fitted: {fitted}")
    else:
        needed = fitted.needed
        agreed = [None] * len(fitted.depths) if needed.model is None else needed.model.agreement
        for depth, share, wanted in zip(fitted.depths, fitted.agreement, agreed, strict=True):
            table.add_row(
                f"agreement at depth {depth}, all text harder",
                f"{share:.1%}",
                "-" if wanted is None else f"{wanted:.1%}",
            )
        for words, key in (
            ("  of tested positions drafted", "early_rate"),
            ("  of drafts discarded", "reject_rate"),
        ):
            table.add_row(
                words,
                f"{needed.now[key]:.1%}",
                "-" if needed.row is None else f"{needed.row[key]:.1%}",
            )
        if needed.row is None:
            notes.append(
                f"harder or easier text gives {needed.lowest:.2f} x .. {needed.highest:.2f} x, and never 1"
            )
        notes.append("what heads say after drafts that nobody made is drawn from recorded branches")
        notes.append(
            f"harder text is drawn from heads fitted to the trace, which give {needed.now['speedup']:.2f} x where the trace gives {limits.speedup:.2f} x: "
            "they know when they are wrong, and draft less"
        )
    yield table
    yield from _lines(notes)


def _batches(limits: Limits) -> Iterator[RenderableType]:
    batches = limits.batches
    table = _table(
        "how many users at once?",
        "users",
        "tokens at once",
        "best case: in step",
        "worst case: never together",
    )
    for row in batches.rows:
        table.add_row(str(row.users), str(row.tokens), _between(row), f"{row.alone:.2f} x")
    yield table
    for bound, case in (
        ("together", "every piece of work falls together"),
        ("alone", "none ever does, and vanilla's always"),
    ):
        most = batches.pays_up_to(bound)
        told = (
            f"if {case}, it pays up to {most} user{'s' * (most != 1)}"
            if most
            else f"if {case}, it does not pay"
        )
        if bound == "together":
            told += (
                " for certain" if any(row.tokens > batches.largest for row in batches.rows) else ""
            )
            told += "" if batches.stops_at is None else f", and no longer at {batches.stops_at}"
        yield from _lines([told])
    yield from _lines(batches.notes)


def _between(row: Load) -> str:
    low, high = row.together
    return f"{low:.2f} x" if low == high else f"{low:.2f} .. {high:.2f} x"


def _bandwidths(limits: Limits) -> Iterator[RenderableType]:
    found = limits.bandwidths
    if isinstance(found, str):
        yield Text("what if the device had another bandwidth?", style="italic")
        yield from _lines([found])
        return
    table = _table(
        "what if the device had another bandwidth, and the same FLOP/s?",
        "times",
        *(str(Fraction(factor)) for factor in found.speedups),
    )
    table.add_row("speedup", *(f"{speedup:.2f} x" for speedup in found.speedups.values()))
    yield table
    yield from _lines(
        [f"break-even at {factor:.2f} times the bandwidth" for factor in found.break_evens]
    )
    if not found.break_evens:
        word = "pays" if limits.speedup > 1 else "does not pay"
        yield from _lines([f"it {word} at all of them"])


def _worst(limits: Limits) -> Iterator[RenderableType]:
    worst = limits.worst
    table = _table("how bad may it get?", "", "time over vanilla's")
    table.add_row("as sure as now, and every draft wrong", f"{worst.discarded:.3f}")
    if worst.in_vain is not None:
        table.add_row("every head asked at every token, in vain", f"{worst.in_vain:.3f}")
    table.add_row(
        f"the worst recorded prompt: {worst.prompt} ({worst.domain})", f"{1 / worst.speedup:.3f}"
    )
    yield table
    yield from _lines(
        [f"{worst.losing} of {limits.prompts} recorded prompts are slower than vanilla"]
    )


def _sensitivity(limits: Limits) -> Iterator[RenderableType]:
    off = f"{100 * limits.change:g} %"
    table = _table(
        "what does the speedup hang on?", "all else held", f"{off} less", f"{off} more", "effect"
    )
    for row in tornado(limits.sways, limits.speedup):
        table.add_row(
            ASSUMPTIONS[row.assumption],
            f"{row.less:.3f} x",
            f"{row.more:.3f} x",
            f"{row.effect:.1%}",
        )
    yield table
    if limits.corners:
        each = {
            corner: float(limits.corners[corner].speedups()[0])
            for corner in CORNERS
            if corner in limits.corners
        }
        table = _table("at the corners of the latencies' intervals", "corner", "speedup")
        for corner, speedup in sorted(each.items(), key=lambda one: one[1]):
            table.add_row(corner.replace("_", " "), f"{speedup:.3f} x")
        yield table
    now = limits.bill.speedups()
    best, found = turns(limits.designs, now, limits.cases)
    name = limits.designs[best].label
    this = "" if not best else f", this design {limits.speedup:.3f} x"
    told = f"of {len(limits.designs)} designs nearby the best is {name} ({now[best]:.3f} x{this})"
    if not found:
        yield from _lines([f"{told}: it stays the best under every change above"])
        return
    yield from _lines([f"{told}: it stays the best unless"])
    unless = (
        f"{turn.what}: {turn.best} ({turn.speedup:.3f} x against {turn.before:.3f} x)"
        for turn in found
    )
    yield from (Padding(Text(words), (0, 0, 0, 4)) for words in unless)
