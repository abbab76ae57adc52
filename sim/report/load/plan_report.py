"""The report on a plan: how many servers, of which device, at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from adadecode.sim.core.number_format import known, percent, significant
from adadecode.sim.report.document import (
    Choice,
    Drawing,
    Fact,
    Figure,
    Report,
    Section,
    Table,
)
from adadecode.sim.report.formatting import plural, sentence
from adadecode.sim.report.load.load_figures import cost_figure, cost_of, front, load_figure
from adadecode.sim.report.load.plan_file import PlanFile

FEWEST = 2
"""Numbers of servers that a curve needs."""


def plan_report(plan: PlanFile, *, created: str) -> Report:
    """Return the report on a plan.

    Args:
        plan: The plan.
        created: When the report is made, in words.
    """
    return Report(
        title=f"{plan.workload['source']}: how many servers",
        kicker=f"Plan for {_load_words(plan)}",
        headline=_headline(plan),
        lead=_lead(plan),
        facts=tuple(_fact(row) for row in plan.deployments.to_dict("records")),
        sections=(_devices_section(plan), _curves_section(plan), _rest_section(plan)),
        created=created,
    )


def _load_words(plan: PlanFile) -> str:
    about = plan.workload
    rate = "" if about["rate"] is None else f", {float(about['rate']):.3g} a second"
    loop = "" if about["in_flight"] is None else f", {about['in_flight']} in flight all the time"
    return f"{plural(int(about['requests']), 'request')} of {about['source']}{rate}{loop}"


def _headline(plan: PlanFile) -> str:
    met = plan.deployments[plan.deployments["meets"]]
    if met.empty:
        return f"No number of servers that was tried meets {plan.slo}."
    priced = plan.cheapest is not None
    chosen = met[met["device"] == plan.cheapest] if priced else met
    best = chosen.sort_values("replicas", kind="stable").iloc[0]
    count = int(best["replicas"])
    servers, one = f"{plural(count, 'server')} of {best['device']}", count == 1
    if priced:
        meets = "meets" if one else "meet"
        cost = significant(float(best["hourly"]))
        return f"{servers} {meets} the objectives for least: {cost} an hour."
    return f"{servers} {'is' if one else 'are'} the fewest that meet the objectives."


def _lead(plan: PlanFile) -> str:
    objectives = str(plan.slo).replace(",", ", ")
    sentences = [
        f"Objectives: {objectives}.",
        "Every number is simulated; all devices serve the same requests.",
    ]
    if not plan.deployments["decided"].all():
        sentences.append(
            "Not all answers are sure: more seeds may turn those that the table marks so."
        )
    return " ".join(sentences)


def _fact(row: Mapping[Any, Any]) -> Fact:
    count = plural(int(row["replicas"]), "server")
    if not row["meets"]:
        return Fact(
            label=str(row["device"]),
            value=f"more than {count}",
            note=f"misses {row['objective']} by {percent(-row['margin'])} of its limit"
            if row["margin"] < 0
            else f"{row['verdict']}",
        )
    cost = (
        f", {significant(row['per_million'])} a million tokens" if known(row["per_million"]) else ""
    )
    return Fact(
        label=str(row["device"]),
        value=count,
        note=f"{percent(row['margin'])} of {row['objective']} left free{cost}",
    )


def _devices_section(plan: PlanFile) -> Section:
    frame = plan.deployments.assign(
        sure=["yes" if one else "no" for one in plan.deployments["decided"]],
        answer=["yes" if one else "no" for one in plan.deployments["meets"]],
    )
    priced = frame["hourly"].notna().any()
    costs = {"hourly": ("per hour", "plain"), "per_million": ("per million tokens", "plain")}
    table = Table(
        name="deployments-table",
        title="Deployments",
        frame=frame,
        columns={
            "device": ("device", "text"),
            "replicas": ("servers", "count"),
            "answer": ("meets", "text"),
            "sure": ("sure", "text"),
            "margin": ("left free", "percent"),
            "objective": ("of", "text"),
            "tokens_per_s": ("tokens/s", "count"),
            "binds": ("one less lacks", "text"),
            **(costs if priced else {}),
        },
        caption=(
            "Left free: of the limit of the objective with the smallest margin, below 0 where it "
            "is missed. One less lacks: what keeps one server less from meeting the objectives."
        ),
    )
    return Section(
        name="deployments",
        title="The fewest servers of each device",
        items=(table,),
    )


def _curves_section(plan: PlanFile) -> Section:
    objectives = tuple(dict.fromkeys(plan.trials["objective"]))
    choice = Choice(dimension="objective", label="Objective", options=objectives)
    parts = {name: plan.trials[plan.trials["objective"] == name] for name in objectives}
    load = Figure(
        name="load-latency",
        title="Latency against load",
        caption=(
            "Each dot is a number of servers that share the load: the fewer they are, the more "
            "requests a second come to each. Bars: the 95 % interval over seeds. Open: the servers "
            "fall behind, and would be slower in a longer run. Dotted: the limit."
        ),
        choices=(choice,),
        drawings={
            (name,): Drawing(figure=load_figure(part), summary=_load_summary(part))
            for name, part in parts.items()
        },
    )
    priced = plan.trials["hourly"].notna().any()
    cost = Figure(
        name="cost-latency",
        title="Latency against cost" if priced else "Latency against devices",
        caption=(
            "The same trials by what their devices cost an hour. The broad line is the front: "
            "nothing that was tried costs less and is faster."
            if priced
            else "The same trials by their number of devices, as no prices were given. The broad "
            "line is the front: nothing that was tried has fewer and is faster."
        ),
        choices=(choice,),
        drawings={
            (name,): Drawing(figure=cost_figure(part), summary=_cost_summary(part))
            for name, part in parts.items()
        },
    )
    return Section(
        name="curves",
        title="What load and money buy",
        items=(load, cost, _trials_table(plan, priced=bool(priced))),
    )


def _load_summary(part: pd.DataFrame) -> str:
    """Return up to which load each device keeps the limit, of what was tried."""
    met = part[(part["margin"] >= 0) & (part["verdict"] != "overloaded")]
    if met.empty:
        return "Nothing that was tried keeps the limit."
    words = []
    for device, rows in met.groupby("device", sort=False):
        fewest = rows.sort_values("replicas", kind="stable").iloc[0]
        load = (
            f"{significant(float(fewest['load']))} requests a second a server"
            if known(fewest["load"])
            else plural(int(fewest["replicas"]), "server")
        )
        words.append(f"{device} up to {load}")
    return f"The limit is kept by {'; '.join(words)}."


def _cost_summary(part: pd.DataFrame) -> str:
    best = front(part.assign(x=cost_of(part)))
    kept = best[best["margin"] >= 0]
    if kept.empty:
        return "Nothing on the front keeps the limit."
    first = kept.iloc[0]
    cost = (
        f"{significant(float(first['hourly']))} an hour"
        if known(first["hourly"])
        else plural(int(first["devices"]), "device")
    )
    servers = plural(int(first["replicas"]), "server")
    return f"The first on the front to keep this limit: {servers} of {first['device']}, {cost}."


def _trials_table(plan: PlanFile, *, priced: bool) -> Table:
    return Table(
        name="trials-table",
        title="All trials",
        frame=plan.trials,
        columns={
            "device": ("device", "text"),
            "replicas": ("servers", "count"),
            "load": ("requests/s a server", "plain"),
            "objective": ("objective", "text"),
            "reached_s": ("reached", "ms"),
            "low_s": ("from", "ms"),
            "high_s": ("to", "ms"),
            "verdict": ("verdict", "text"),
            "seeds": ("seeds", "count"),
            **({"hourly": ("per hour", "plain")} if priced else {}),
        },
        caption="From and to: the 95 % interval over seeds; a single run has none.",
        folded=True,
    )


def _rest_section(plan: PlanFile) -> Section:
    left_out = int(plan.workload["left_out"])
    notes = [*plan.notes, *map(str, plan.workload["notes"])]
    if left_out:
        notes.append(f"{left_out:,} rows of the file are no request that was answered")
    return Section(
        name="assumed",
        title="What it rests on",
        notes=tuple(map(sentence, notes)),
    )
