"""A plan for people: a row for each device, and what binds."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType

from adadecode.sim.cli.tables.layout import notes, table, titled
from adadecode.sim.cli.tables.serving import left_out_words
from adadecode.sim.core.number_format import UNKNOWN, percent, significant
from adadecode.sim.serving.planning.plan import Plan, PlannedDeployment


def plan_tables(plan: Plan) -> Iterator[RenderableType]:
    """Yield a table of the devices, and notes on what is missed and what times rest on."""
    workload = plan.workload
    rate = "" if workload.rate is None else f", {workload.rate:.3g} a second"
    yield _table(plan, f"{len(workload.requests):,} requests{rate}: {plan.slo}")
    missed = [_missed(one) for one in plan.deployments if not one.meets]
    told = dict.fromkeys(note for one in plan.deployments for note in one.candidate.notes)
    left_out = [left_out_words(workload.left_out)] if workload.left_out else []
    yield from notes([*left_out, *missed, *told])


def _missed(one: PlannedDeployment) -> str:
    """Return by how much the most servers miss the objectives."""
    trial = one.trial
    if (never := one.out_of_reach) is not None and one.alone is not None:
        return (
            f"{one.candidate.label}: no number of servers meets {never}, which even a request that "
            f"has a server to itself misses by {percent(-one.alone[never])} of its limit"
        )
    most = f"{one.candidate.label}: {trial.replicas} servers"
    short = -trial.margins[trial.worst].mean
    if short <= 0:  # what they reach would not last
        return f"{most} are {trial.runs.verdict}: allow more with --max-replicas"
    return (
        f"{most} miss {trial.worst} by {percent(short)} of its limit: allow more with "
        "--max-replicas, or lower the load"
    )


def _table(plan: Plan, title: str) -> Group:
    priced = any(one.hourly is not None for one in plan.deployments)
    body = table(
        "device",
        *("servers", "left free", "tokens/s", "one less"),
        *(("per hour", "per million tokens") if priced else ()),
        texts=("left free", "one less"),
    )
    for one in plan.deployments:
        body.add_row(*_cells(one), *(_costs(one) if priced else ()))
    captions = [
        "left free: of the limit of the objective with the smallest margin; below 0 it is missed",
        "one less: what keeps one server less from meeting the objectives",
    ]
    if not all(one.trial.decided for one in plan.deployments):
        captions.append("not sure: more seeds may turn the answer (--seeds)")
    if plan.cheapest is not None:
        captions.append(f"cheapest: {plan.cheapest.candidate.label}")
    return titled(title, body, captions)


def _cells(one: PlannedDeployment) -> tuple[str, ...]:
    trial = one.trial
    rate = trial.runs.interval("throughput", "output_tokens_per_s")
    sure = "" if trial.decided else ", not sure"
    return (
        one.candidate.label,
        f"{trial.replicas}" if one.meets else f">{trial.replicas}",
        f"{percent(trial.margins[trial.worst].mean)} of {trial.worst}{sure}",
        UNKNOWN if rate is None else f"{rate.mean:,.0f}",
        UNKNOWN if one.binds is None else str(one.binds),
    )


def _costs(one: PlannedDeployment) -> tuple[str, str]:
    if not one.meets:
        return UNKNOWN, UNKNOWN
    costs = (one.hourly, one.cost_per_million)
    hourly, each = (UNKNOWN if cost is None else significant(cost) for cost in costs)
    return hourly, each
