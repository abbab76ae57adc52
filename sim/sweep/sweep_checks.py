"""Hold the table of a finished sweep against what ``sweep.json`` says of it.

Whatever can be worked out again is: the designs of the plan, the fronts, and which design is best.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.errors import InputError, ProfileError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.sweep.best_design import best_rows, design_of, found_among, runnable
from adadecode.sim.sweep.head_forms import NO_HEADS, FormedDesign
from adadecode.sim.sweep.objective import costs
from adadecode.sim.sweep.optuna_search import threshold_choices
from adadecode.sim.sweep.pareto import pareto_front
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
        planned = set() if about["trials"] else _planned(space, len(designs))
        _check_designs(about, space, designs, planned)
        swept = frozenset(design.label for design in planned)
        there = []
        for device, mine in runnable(rows).groupby("device", sort=False):
            there.append(device)
            _check_front(rows, mine, about)
            _check_best(about, mine, space, swept)
        if list(about["best"]) != there:
            raise ProfileError(f"wanted a best design on {', '.join(devices)}, got others")
    except InputError as error:
        raise ProfileError(f"{where} contradicts itself: {error}: {todo}") from None


def designs_in(rows: pd.DataFrame, where: object, todo: str) -> dict[str, Design]:
    """Return the designs of a table by their labels.

    Raises:
        ProfileError: If a row holds no design, or one with another label than it claims.
    """
    columns = ["policy", "placement", "gammas", "cap", "verify", *([FORM] if FORM in rows else [])]
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


def _check_designs(
    about: Mapping[str, Any], space: Space, designs: Designs, planned: set[Design]
) -> None:
    """Refuse designs that the plan does not hold, and too few of those that it does.

    Args:
        about: What ``sweep.json`` holds.
        space: Its space.
        designs: The designs of the table.
        planned: All designs of the space; empty where it was searched.
    """
    if about["designs"] != len(designs):
        raise ProfileError(f"wanted {about['designs']} designs, got {len(designs)}")
    if lacking := sorted({design.label for design in planned} - set(designs)):
        raise ProfileError(f"wanted {lacking[0]}, which its plan holds, got none")
    for design in set(designs.values()) - planned:
        searched = about["trials"] and _may_be_searched(space, design)
        if not searched and not _may_be_refined(space, design):
            raise ProfileError(f"wanted designs of its plan, got {design.label}")


def _planned(space: Space, count: int) -> set[Design]:
    """Return the designs of a space that a table of so many designs can hold.

    A space may hold a design several times, but not as often as this.
    """
    if space.size > 1000 * count + 1_000_000:
        raise ProfileError(f"wanted the {space.size:,} designs of its plan, got {count:,}")
    return set(space.designs())


def _may_be_refined(space: Space, design: Design) -> bool:
    """Return whether refinement may have made a design: one threshold per head, of the space's."""
    return (
        design.policy is Policy.ADADECODE
        and _fits_heads(space, design)
        and set(design.gammas) <= set(threshold_choices(space, design.placement))
    )


def _may_be_searched(space: Space, design: Design) -> bool:
    """Return whether a search of the space may have tried a design."""
    if design.policy not in space.policies:
        return False
    if design.policy is Policy.VANILLA:
        return design == Design(policy=Policy.VANILLA)
    low, high = (
        (min(space.gammas), max(space.gammas)) if design.policy is Policy.ADADECODE else (0.0, 0.0)
    )
    return _fits_heads(space, design) and all(low <= gamma <= high for gamma in design.gammas)


def _fits_heads(space: Space, design: Design) -> bool:
    """Return whether the heads of a design, their form and its cap are the space's."""
    forms = {design.form} if isinstance(design, FormedDesign) else set()
    return (
        1 <= len(design.placement) <= space.most
        and set(design.placement) <= set(space.depths)
        and design.cap in space.caps
        and design.verify
        and (forms <= set(space.forms) if space.forms else not forms)
    )


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
