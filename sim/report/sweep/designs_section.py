"""The section on which heads and which gamma are best."""

from __future__ import annotations

import pandas as pd

from adadecode.sim.report import formatting
from adadecode.sim.report.document import Figure, Section, Table
from adadecode.sim.report.sweep import design_tables
from adadecode.sim.report.sweep.gamma_figure import gamma_item
from adadecode.sim.report.sweep.placement_figure import placement_item
from adadecode.sim.report.sweep.sweep_data import SweepData

TOP = 10
"""Placements listed for each device."""

INTERVALS = (
    "From, to: the range of the speedup that uncertain latencies leave; on a measured device, how "
    "far predictions were seen to miss."
)
"""What the interval of a predicted speedup covers."""


def designs_section(data: SweepData) -> Section:
    """Return the section on the best heads and thresholds of a sweep."""
    figures = [item for item in (gamma_item(data), placement_item(data)) if item.drawings]
    items: list[Figure | Table] = [*figures]
    if data.forms:
        items.append(_forms_table(data))
    items.append(_top_table(data))
    return Section(
        name="designs", title="Which heads, which gamma", lead=_lead(data), items=tuple(items)
    )


def _lead(data: SweepData) -> str:
    """Return how many designs were evaluated, and how they were chosen."""
    count = formatting.plural(int(data.about["designs"]), "design")
    lead = (
        f"All {count} of the space were evaluated: the best one is the optimum within it."
        if data.about.get("optimal")
        else (
            f"{count} were evaluated, chosen by a search ({data.about['method']}): a better one "
            "may have been missed."
        )
    )
    if any(data.best(device).get("refined_from") for device in data.devices):
        lead += " Around each device's best, one threshold per head was refined as well."
    return lead


def _forms_table(data: SweepData) -> Table:
    """Return the best design of each device with heads of each form, and its basis there."""
    columns = {
        "device": ("device", "text"),
        "form": ("form of heads", "text"),
        "design": ("best design", "text"),
        "speedup": ("speedup", "times"),
        "speedup_low": ("from", "times"),
        "speedup_high": ("to", "times"),
        "tpot_s": ("time a token", "ms"),
        "memory_bytes": ("peak memory", "bytes"),
    }
    rows = [
        {
            **{name: best[name] for name in columns if name != "device"},
            "device": device,
            "basis": data.device(device, form)["basis"],
        }
        for device in data.devices
        for form, best in data.best(device).get("forms", {}).items()
    ]
    return Table(
        name="forms-table",
        title="The best with each form of heads",
        frame=pd.DataFrame(rows, columns=[*columns, "basis"]),
        columns={**columns, "basis": ("basis", "text")},
        caption=INTERVALS,
    )


def _top_table(data: SweepData) -> Table:
    rows = design_tables.top(data.designs, TOP)
    return Table(
        name="top-table",
        title=f"The {TOP} best placements of each device, with their intervals",
        frame=rows[[name for name in data.sweep.designs.columns if name in rows]],
        columns={
            "device": ("device", "text"),
            "design": ("design", "text"),
            "speedup": ("speedup", "times"),
            "speedup_low": ("from", "times"),
            "speedup_high": ("to", "times"),
            "tpot_s": ("time a token", "ms"),
            "early_rate": ("drafted early", "percent"),
            "reject_rate": ("discarded", "percent"),
            "tokens_per_round": ("tokens a round", "plain"),
            "modelled_share": ("time modelled", "percent"),
        },
        caption=INTERVALS,
        folded=True,
    )
