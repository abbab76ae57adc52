"""The section on where the time goes with the best design of each device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.core.number_format import percent
from adadecode.sim.replay.price_list import GATE_PARTS
from adadecode.sim.report import formatting
from adadecode.sim.report.document import Drawing, Figure, Section, Table
from adadecode.sim.report.profile.latency_tables import TIME_SHARES
from adadecode.sim.report.profile.time_section import (
    FATE_COLUMNS,
    budget_figure,
    fates_figure,
    fates_summary,
    time_columns,
)
from adadecode.sim.report.sweep import wording
from adadecode.sim.report.sweep.sweep_data import SweepData

Details = Mapping[str, Any]
"""What a sweep stores of the best design of a device."""


def budget_section(data: SweepData) -> Section | None:
    """Return the section; None if the sweep stores no details of any best design."""
    bests = {device: data.best(device) for device in data.devices}
    details = {
        device: best["details"]
        for device, best in bests.items()
        if best.get("details") and best.get("policy") != Policy.ORACLE
    }
    if not details:
        return None
    return Section(
        name="time",
        title="Where the time goes, and where tokens leave",
        lead="With the best design of each device.",
        items=(*_budget_items(data, details), *_exit_items(data, details)),
    )


def _budget_items(data: SweepData, details: Mapping[str, Details]) -> tuple[Figure, Table]:
    """Return the figure and the table of where the time of a token goes."""
    splits = {device: _time_split(one) for device, one in details.items()}
    figure = Figure(
        name="best-budget",
        title="Where the time of a token goes",
        caption=(
            "Vanilla, undivided, and the best design. The time of a batch is shared evenly by its "
            "tokens: red is what was spent in layers on drafts that verification threw away."
        ),
        choices=(wording.device_choice(data),),
        drawings={
            (device,): _budget_drawing(device, split, float(details[device]["vanilla_s"]))
            for device, split in splits.items()
        },
    )
    table = Table(
        name="best-budget-table",
        title="Time of a token by part",
        frame=pd.DataFrame([{"device": device, **split} for device, split in splits.items()]),
        columns={"device": ("device", "text"), "design": ("design", "text"), **time_columns()},
        folded=True,
    )
    return figure, table


def _budget_drawing(device: str, split: dict[str, Any], vanilla_s: float) -> Drawing:
    vanilla = {"design": "vanilla", **dict.fromkeys(TIME_SHARES, 0.0), "undivided": vanilla_s}
    design_s = sum(split[part] for part in TIME_SHARES)
    discarded = percent(split["layers_discarded"] / design_s)
    return Drawing(
        figure=budget_figure(pd.DataFrame([vanilla, split]).fillna(0.0)),
        summary=(
            f"{device}: {formatting.milliseconds(design_s)} a token instead of "
            f"{formatting.milliseconds(vanilla_s)}; {discarded} of it in layers run for discarded "
            "drafts."
        ),
    )


def _time_split(details: Details) -> dict[str, Any]:
    """Return seconds per token by `TIME_SHARES`, from the finer parts that the sweep stores.

    The finer parts are those of `adadecode.sim.replay.price_list`.
    """
    seconds = {name: float(value) for name, value in details["seconds_per_token"].items()}
    return {
        "design": str(details["design"]),
        "layers_useful": seconds["layers"],
        "layers_discarded": seconds["layers_discarded"],
        "heads": seconds["heads"]
        + seconds["heads_discarded"]
        + sum(seconds.get(part, 0.0) for part in GATE_PARTS),
        "verify": seconds["verify"] + seconds["verify_discarded"],
        "host": seconds["host"],
    }


def _exit_items(data: SweepData, details: Mapping[str, Details]) -> tuple[Figure, Table]:
    """Return the figure and the table of exits by depth."""
    tokens = {device: _fates(one) for device, one in details.items()}
    figure = Figure(
        name="best-exits",
        title="Exits by depth, accepted and discarded",
        caption=(
            "Of the best design, replayed from the recorded text. Blue and green make up the text, "
            "100 %; red comes on top: drafts computed in vain."
        ),
        choices=(wording.device_choice(data),),
        drawings={
            (device,): Drawing(
                figure=fates_figure(rows),
                summary=(
                    f"{device}: {details[device]['design']}; {fates_summary(rows, past=False)}"
                ),
            )
            for device, rows in tokens.items()
        },
    )
    rows = pd.concat(
        [
            rows.assign(device=device, design=details[device]["design"])
            for device, rows in tokens.items()
        ]
    )
    table = Table(
        name="best-exits-table",
        title="Exits by depth",
        frame=rows[["device", "design", "depth", "accepted", "rejected", "last"]],
        columns={
            "device": ("device", "text"),
            "design": ("design", "text"),
            "depth": ("depth", "text"),
            **FATE_COLUMNS,
        },
        folded=True,
    )
    return figure, table


def _fates(details: Details) -> pd.DataFrame:
    """Return the fates of tokens by depth, the last layer in the last row."""
    rows = [
        (f"{head['depth']}", int(head["accepted"]), int(head["drafts"]) - int(head["accepted"]), 0)
        for head in details["heads"]
    ]
    kept = sum(accepted for _, accepted, _, _ in rows)
    return pd.DataFrame(
        [*rows, ("last", 0, 0, int(details["tokens"]) - kept)],
        columns=["depth", "accepted", "rejected", "last"],
    )
