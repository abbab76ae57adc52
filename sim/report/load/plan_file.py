"""A plan that ``adadecode-sim plan`` wrote, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there, read_json
from adadecode.sim.core.design import Policy
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.metrics.slo import Slo

PLAN, TRIALS = "plan.json", "trials.csv"

COLUMNS = (
    "device", "replicas", "devices", "meets", "chosen", "verdict", "seeds", "objective", "limit_s",
    "reached_s", "low_s", "high_s", "margin", "load", "hourly",
)  # fmt: skip
"""Columns of `PlanFile.trials`."""

WORKLOAD = ("source", "requests", "left_out", "in_flight", "rate", "notes")
"""What is said of the load."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanFile:
    """A plan.

    Attributes:
        slo: The objectives.
        workload: The load, as `adadecode.sim.serving.workloads.workload.Workload.to_json` has it.
        cheapest: The device that meets the objectives for least; None where none is priced.
        deployments: A row a device: how many servers, what binds, and what they cost.
        trials: A row for each number of servers that was served to the end, and each objective:
            what was reached, with the ends of its interval (NaN of a single run), the requests a
            second of each server (``load``; NaN in a closed loop), and the cost of an hour.
        notes: What times rest on, a sentence each.
    """

    slo: Slo
    workload: Mapping[str, Any]
    cheapest: str | None
    deployments: pd.DataFrame
    trials: pd.DataFrame
    notes: tuple[str, ...]


def is_plan(folder: Path) -> bool:
    """Return whether a folder holds a plan. That of a sweep has the same name, and no trials."""
    return is_there(folder / PLAN) and is_there(folder / TRIALS)


def read_plan(folder: Path) -> PlanFile:
    """Read a plan.

    Raises:
        InputError: If it cannot be read, or is not as it was written.
    """
    document = read_json(folder / PLAN)
    try:
        slo, workload = Slo.parse(document["slo"]), dict(document["workload"])
        found = [dict(one) for one in document["deployments"]]
        deployments = pd.DataFrame([_deployment(one) for one in found])
        rows = [row for one in found for row in _trials(one, slo, workload["rate"])]
        trials = pd.DataFrame(rows, columns=list(COLUMNS))
        notes = dict.fromkeys(str(note) for one in found for note in one["notes"])
        cheapest = document["cheapest"]
        workload = {name: workload[name] for name in WORKLOAD}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown(folder / PLAN)} is not as adadecode-sim plan wrote it ({error!r}): plan again "
            "into another directory"
        ) from None
    if trials.empty:
        raise InputError(f"{shown(folder / PLAN)} holds no trial: plan again")
    return PlanFile(
        slo=slo,
        workload=workload,
        cheapest=None if cheapest is None else str(cheapest),
        deployments=deployments,
        trials=trials,
        notes=tuple(notes),
    )


def _deployment(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `PlanFile.deployments`."""
    margins = {str(name): float(ends["mean"]) for name, ends in one["margins"].items()}
    worst = min(margins, key=margins.__getitem__)
    throughput = one["figures"]["throughput"] or {}
    return {
        "device": _name(one),
        "meets": bool(one["meets"]),
        "replicas": int(one["replicas"]),
        "devices": int(one["devices"]),
        "decided": bool(one["decided"]),
        "verdict": str(one["verdict"]),
        "objective": worst,
        "margin": margins[worst],
        "binds": str(one["binds"] or "nothing"),
        "tokens_per_s": _number(throughput.get("output_tokens_per_s")),
        "hourly": _number(one["cost_per_hour"]),
        "per_million": _number(one["cost_per_million_output_tokens"]),
    }


def _trials(one: Mapping[str, Any], slo: Slo, rate: float | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of one device. A trial that was left early knows no figures."""
    each = int(one["devices"]) / int(one["replicas"])
    price = _number(one["cost_per_hour"]) / int(one["devices"])
    limits = {target.name: target.limit_s for target in slo.targets}
    whole = [trial for trial in one["trials"] if "margins" in trial]
    for trial in sorted(whole, key=lambda trial: int(trial["replicas"])):
        replicas = int(trial["replicas"])
        for name, limit in limits.items():
            ends = trial["margins"][name]
            yield {
                "device": _name(one),
                "replicas": replicas,
                "devices": round(replicas * each),
                "meets": bool(trial["meets"]),
                "chosen": bool(one["meets"]) and replicas == int(one["replicas"]),
                "verdict": str(trial["verdict"]),
                "seeds": int(trial["seeds"]),
                "objective": name,
                "limit_s": limit,
                "reached_s": limit * (1 - float(ends["mean"])),
                "low_s": max(limit * (1 - _number(ends["high"])), 0.0),
                "high_s": limit * (1 - _number(ends["low"])),
                "margin": float(ends["mean"]),
                "load": _number(rate) / replicas,
                "hourly": price * replicas * each,
            }


def _name(one: Mapping[str, Any]) -> str:
    """Return the device, and the policy where that is not vanilla."""
    device, policy = str(one["device"]), str(one["policy"])
    return device if policy == Policy.VANILLA else f"{device}, {policy}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
