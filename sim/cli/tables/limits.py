"""The limits of a design for people: a table for each question, and the answer in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from adadecode.sim.cli.tables.concurrency import bandwidth_tables, batch_tables
from adadecode.sim.cli.tables.layout import BASIS_WORDS, notes, table, titled
from adadecode.sim.cli.tables.regime import regime_lines
from adadecode.sim.cli.tables.sensitivity import sensitivity_tables
from adadecode.sim.core.number_format import percent, times
from adadecode.sim.core.shown_text import shown
from adadecode.sim.limits.analysis import Fitted, Limits
from adadecode.sim.limits.break_even import BreakEven
from adadecode.sim.limits.time_breakdown import WORK_KINDS
from adadecode.sim.replay.work_columns import CHECK, GATE


def limits_tables(limits: Limits) -> Iterator[RenderableType]:
    """Yield the answer to every question, and the notes on the scenario."""
    yield _headline(limits)
    latencies = limits.scenario.latencies
    yield from map(Text, regime_lines(latencies.regime, latencies.limits))
    yield from _costs(limits)
    yield from _acceptance(limits)
    yield from batch_tables(limits)
    yield from bandwidth_tables(limits)
    yield from _worst(limits)
    yield from sensitivity_tables(limits)
    yield from notes(limits.scenario.notes)


def _headline(limits: Limits) -> Text:
    latencies = limits.scenario.latencies
    hypothetical = " (hypothetical)" if limits.scenario.hypothetical else ""
    vanilla, ours = limits.bill.tpots[:2]
    where = shown(f"{latencies.device}{BASIS_WORDS[latencies.basis]}{hypothetical}")
    return Text(
        f"{limits.design.label} on {where}: "
        f"{times(limits.speedup, 3)} ({ours * 1e3:.3f} ms a token, vanilla {vanilla * 1e3:.3f}; "
        f"{limits.prompts} prompts)"
    )


def _costs(limits: Limits) -> Iterator[RenderableType]:
    """Yield by how much each kind of work may change, and what a head check takes."""
    body = table("work", "ms a token", "vanilla's", "pays at", "interval")
    for cost in limits.costs:
        known = cost.low is not None and cost.high is not None
        body.add_row(
            WORK_KINDS[cost.kind],
            f"{cost.seconds * 1e3:.3f}",
            f"{cost.vanilla * 1e3:.3f}",
            _pays_at(cost),
            f"{cost.low:.2f} .. {cost.high:.2f}" if known else "",
        )
    captions = ["pays at: factor on this work, for vanilla too, at which the design is faster"]
    if any(cost.low is not None for cost in limits.costs):
        captions.append("interval: that factor from end to end of the device's latencies")
    yield titled("how expensive may each kind of work become?", body, captions)
    yield from notes([*_head_check(limits), *_gates(limits)])


def _pays_at(cost: BreakEven) -> str:
    if cost.factor is None:
        return {"always": "anything", "never": "never"}[cost.pays]
    return f"{'<' if cost.pays == 'below' else '>'} {times(cost.factor)}"


def _head_check(limits: Limits) -> Iterator[str]:
    """Yield what a head check takes, and what it may take, in milliseconds and in layers."""
    heads = next((cost for cost in limits.costs if cost.kind == "heads"), None)
    checks = int(limits.bill.work.total(CHECK)[1])
    if heads is None or not checks:
        return
    tokens = int(limits.bill.work.tally("tokens")[1]) - limits.prompts
    check = heads.seconds * tokens / checks
    layer = limits.bill.vanilla[0] / limits.scenario.trace.n_layers
    most = ""
    if heads.factor is not None:
        largest = heads.factor * check
        most = f", and may take {largest * 1e3:.3f} ms, or {largest / layer:.2f}"
    now = f"{check * 1e3:.3f} ms, or {check / layer:.2f} layers of one token"
    yield f"a head check takes {now}{most}"


def _gates(limits: Limits) -> Iterator[str]:
    """Yield what a question to a gate takes, and what gates that know would give."""
    gates = next((cost for cost in limits.costs if cost.kind == "gates"), None)
    asked = int(limits.bill.work.total(GATE)[1])
    if gates is None or not asked or limits.ideal_gates is None:
        return
    tokens = int(limits.bill.work.tally("tokens")[1]) - limits.prompts
    gate = gates.seconds * tokens / asked
    most = "" if gates.factor is None else f", and may take {gates.factor * gate * 1e3:.4f} ms"
    yield (
        f"a question to a gate takes {gate * 1e3:.4f} ms{most}; gates that ask a head only where "
        f"it drafts rightly, and always there, would give {times(limits.ideal_gates, 3)}"
    )


def _acceptance(limits: Limits) -> Iterator[RenderableType]:
    """Yield how wrong the heads may be: as recorded, and with fitted heads on harder text."""
    body, lines = table("", "now", "at break-even"), list[str]()
    _add_recorded(body, lines, limits)
    if isinstance(limits.fitted, str):
        lines.append(f"no heads could be fitted: {limits.fitted}")
    else:
        _add_fitted(body, lines, limits.fitted, limits.speedup)
    yield titled("how wrong may the heads be?", body)
    yield from notes(lines)


def _add_recorded(body: Table, lines: list[str], limits: Limits) -> None:
    """Add the break-even by recorded outputs that turn wrong or right, as confident as before."""
    recorded = limits.unaware
    if recorded.then is None:
        pays = "pays" if recorded.now.speedup > 1 else "does not pay"
        lines.append(f"whatever share of the recorded outputs is wrong or right, it {pays}")
    elif recorded.right is None:
        label = "right outputs that turn wrong, as confident as before"
        body.add_row(label, "0.0%", percent(recorded.wrong, 1))
    else:
        label = "wrong outputs that turn right, as confident as before"
        body.add_row(label, "0.0%", percent(recorded.right, 1))
    body.add_row(
        "  of drafts discarded",
        percent(recorded.now.discarded, 1),
        percent(None if recorded.then is None else recorded.then.discarded, 1),
        end_section=True,
    )


def _add_fitted(body: Table, lines: list[str], fitted: Fitted, speedup: float) -> None:
    """Add the break-even by agreement of heads that were fitted to the trace."""
    needed = fitted.needed
    wanted = [None] * len(fitted.depths) if needed.model is None else needed.model.agreement
    for depth, now, then in zip(fitted.depths, fitted.agreement, wanted, strict=True):
        label = f"agreement at depth {depth}, all text harder"
        body.add_row(label, percent(now, 1), percent(then, 1))
    for label, key in (
        ("  of tested positions drafted", "early_rate"),
        ("  of drafts discarded", "reject_rate"),
    ):
        there = percent(None if needed.row is None else needed.row[key], 1)
        body.add_row(label, percent(needed.now[key], 1), there)
    if needed.row is None:
        lines.append(
            f"harder or easier text gives {times(needed.lowest)} .. {times(needed.highest)}, and "
            "never 1"
        )
    lines += [
        "outputs of heads after drafts that nobody made are drawn from recorded branches",
        (
            "harder text is drawn from heads fitted to the trace, which give "
            f"{times(needed.now['speedup'])} where the trace gives {times(speedup)}: their "
            "confidence falls where they are wrong, so that they draft less"
        ),
    ]


def _worst(limits: Limits) -> Iterator[RenderableType]:
    worst = limits.worst
    body = table("", "time over vanilla's")
    body.add_row("every draft wrong, heads as confident as now", f"{worst.discarded:.3f}")
    if worst.in_vain is not None:
        body.add_row("every head checked at every token, in vain", f"{worst.in_vain:.3f}")
    body.add_row(
        f"the worst recorded prompt: {worst.prompt} ({worst.domain})", f"{1 / worst.speedup:.3f}"
    )
    yield titled("how bad may it get?", body)
    yield from notes(
        [f"{worst.losing} of {limits.prompts} recorded prompts are slower than vanilla"]
    )
