"""Hold the table of a finished sweep against what ``sweep.json`` says of it.

Whatever can be worked out again is: the designs of the plan, the fronts, and which design is best.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.columns import DESIGN
from adadecode.profiles.errors import InputError, ProfileError
from adadecode.sim.core.design import Design
from adadecode.sim.sweep.best_design import best_rows, design_of, found_among, runnable
from adadecode.sim.sweep.head_forms import NO_HEADS
from adadecode.sim.sweep.objective import costs
from adadecode.sim.sweep.pareto import pareto_front
from adadecode.sim.sweep.planned_designs import PlannedDesigns
from adadecode.sim.sweep.row_checks import ROUNDING, check_devices, check_rows
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.table import FORM, FRONT, NUMBERS

Designs = Mapping[str, Design]
"""The designs of a table by their labels."""


def check_finished(
    about: Mapping[str, Any], space: Space, rows: pd.DataFrame, where: Path, todo: str
) -> None:
    """Refuse a sweep whose table is not of its plan, or contradicts itself or its description.

    Args:
        about: What ``sweep.json`` holds, checked by `adadecode.sim.sweep.description`.
        space: Its space.
        rows: The table.
        where: The directory, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If something does not fit.
    """
    devices = list(dict.fromkeys(one["device"] for one in about["devices"]))
    designs = designs_in(rows, where, todo)
    check_devices(rows, list(designs), devices, where, todo)
    check_rows(rows, NUMBERS, where, todo)
    try:
        swept = _check_designs(about, space, designs)
        there: list[str] = []
        for device, mine in runnable(rows).groupby("device", sort=False):
            there.append(str(device))
            _check_front(rows, mine, about)
            _check_best(about, mine, space, swept)
        if list(about["best"]) != there:
            raise ProfileError(
                f"wanted a best design on each of {', '.join(there)}, got some on "
                f"{', '.join(about['best'])}"
            )
    except InputError as error:
        raise ProfileError(f"{where} contradicts itself: {error}: {todo}") from None


def designs_in(rows: pd.DataFrame, where: object, todo: str) -> dict[str, Design]:
    """Return the designs of a table by their labels.

    Raises:
        ProfileError: If a row holds no design, or one with another label than it claims.
    """
    columns = [*DESIGN, *([FORM] if FORM in rows else [])]
    found: dict[str, Design] = {}
    parts: dict[str, tuple[Any, ...]] = {}
    values = (rows[name].tolist() for name in columns)
    for label, *row in zip(rows["design"].tolist(), *values, strict=True):
        if parts.setdefault(label, tuple(row)) != tuple(row):
            raise ProfileError(f"wanted {label} to be one design in {where}, got two: {todo}")
        if label in found:
            continue
        try:
            design = design_of(dict(zip(columns, row, strict=True)))
        except (InputError, ValueError) as error:
            raise ProfileError(f"{label!r} in {where} is no design ({error}): {todo}") from None
        without_heads = row[-1] == NO_HEADS if FORM in rows else True
        if design.label != label or (not design.placement and not without_heads):
            raise ProfileError(f"wanted {design.label} in {where}, got {label!r}: {todo}")
        found[label] = design
    return found


def _check_designs(about: Mapping[str, Any], space: Space, designs: Designs) -> frozenset[str]:
    """Refuse designs that the plan does not hold, and too few of those that it does.

    Args:
        about: What ``sweep.json`` holds.
        space: Its space.
        designs: The designs of the table.

    Returns:
        The labels of those that the plan holds; none where its space was searched.
    """
    if about["designs"] != len(designs):
        raise ProfileError(f"wanted {about['designs']} designs, got {len(designs)}")
    searched = about["trials"] > 0
    planned = PlannedDesigns(space, len(designs), searched=searched)
    holds = planned.may_be_searched if searched else planned.holds
    there = {label for label, design in designs.items() if holds(design)}
    if not searched and len(there) != planned.size:
        lacking = next(one.label for one in space.designs() if one.label not in there)
        raise ProfileError(f"wanted {lacking}, which its plan holds, got none")
    for label, design in designs.items():
        if label not in there and not planned.may_be_refined(design):
            raise ProfileError(f"wanted designs of its plan, got {label}")
    return frozenset() if searched else frozenset(there)


def _check_front(rows: pd.DataFrame, mine: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Refuse a Pareto front that the rows of a device contradict."""
    device = mine["device"].iloc[0]
    there = rows[rows["device"] == device]
    wanted = set(mine.index[pareto_front(costs(mine, about["objectives"]))])
    if wrong := sorted(wanted ^ set(there.index[there[FRONT].astype(bool)])):
        label = rows.loc[wrong[0], "design"]
        be, marked = ("", "not ") if wrong[0] in wanted else ("not ", "")
        raise ProfileError(
            f"wanted {label} {be}on the Pareto front of {device}, got it {marked}marked"
        )


def _check_best(
    about: Mapping[str, Any], mine: pd.DataFrame, space: Space, swept: frozenset[str]
) -> None:
    """Refuse a best design that the rows of a device contradict."""
    device = str(mine["device"].iloc[0])
    best = about["best"].get(device)
    objective = about["objectives"][0]
    wanted = best_rows(mine, objective, space.forms)
    if swept:
        wanted |= found_among(mine, objective, swept)
    for key, value in wanted.items():
        if best is None or best.get(key) != value:
            got = None if best is None else best.get(key)
            raise ProfileError(
                f"wanted {wanted['design']} as the best on {device}, with {value} as {key}, "
                f"got {got}"
            )
    _check_refinement(best, mine)
    _check_details(best, device)
    low, high = best["prompts"]["speedup_low"], best["prompts"]["speedup_high"]
    if (low is None) != (high is None) or (low is not None and low > high):
        raise ProfileError(f"wanted an interval over other prompts, got {low} .. {high}")


def _check_refinement(best: Mapping[str, Any], mine: pd.DataFrame) -> None:
    """Refuse a best design that was refined from none, or from one of another speedup."""
    label = best["refined_from"] or best["design"]
    speedups = mine.loc[mine["design"] == label, "speedup"]
    if speedups.tolist() != [best["unrefined_speedup"]]:
        raise ProfileError(
            f"wanted the speedup of {label} as unrefined_speedup, got {best['unrefined_speedup']}"
        )


def _check_details(best: Mapping[str, Any], device: str) -> None:
    """Refuse details that are not those of the best design."""
    details, parts = best["details"], dict(best["details"]["seconds_per_token"])
    modelled = parts.pop("modelled")
    total, tpot = sum(parts.values()), best["tpot_s"]
    same = {
        "design": (details["design"], best["design"]),
        "device": (details["device"], device),
        "heads": ({one["depth"] for one in details["heads"]} <= set(best["placement"]), True),
        "accepted": (all(one["accepted"] <= one["drafts"] for one in details["heads"]), True),
        "seconds_per_token": (bool(np.isclose(total, tpot, rtol=ROUNDING)), True),
        "modelled": (modelled <= total * (1 + ROUNDING), True),
        "vanilla_s": (
            bool(np.isclose(details["vanilla_s"], tpot * best["speedup"], rtol=ROUNDING)),
            True,
        ),
    }
    if wrong := [name for name, (got, wanted) in same.items() if got != wanted]:
        raise ProfileError(
            f"wanted details of {best['design']} on {device}, got others by their {wrong[0]}"
        )
