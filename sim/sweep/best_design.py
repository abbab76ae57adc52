"""The best design of a sweep on each device, and what is worked out about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.errors import DeviceError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.head_form import HeadForm, form_named
from adadecode.sim.sweep.head_forms import AnyEvaluator, FormedDesign, in_forms
from adadecode.sim.sweep.objective import costs
from adadecode.sim.sweep.plan import SweepPlan


def runnable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that may be chosen from: those that fit on their device.

    The oracle, a ceiling that no engine runs, is left out unless there is nothing else.

    Raises:
        DeviceError: If nothing fits on a device.
    """
    real = rows[rows["policy"] != str(Policy.ORACLE)]
    real = real if len(real) else rows
    fitting = real[real["fits"].astype(bool)]
    if lacking := sorted(set(real["device"]) - set(fitting["device"])):
        least = real.loc[real["device"] == lacking[0], "memory_bytes"].min() / 2**30
        raise DeviceError(
            f"no design of the space fits on {lacking[0]}: the smallest takes {least:.2f} GiB: "
            "take narrower weights with --dtype, fewer --max-heads, or another device"
        )
    return fitting


def by_form(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each form of the heads; all under "" where there was no choice."""
    if "form" not in rows:
        return {"": rows}
    return {str(form): mine for form, mine in rows.groupby("form", sort=False)}


def best_row(rows: pd.DataFrame, objective: str) -> pd.Series:
    """Return the row that is best by an objective."""
    return rows.iloc[int(np.nanargmin(costs(rows, [objective])[:, 0]))]


def design_of(row: Mapping[str, Any] | pd.Series) -> Design:
    """Return the design of a row."""
    design = Design(
        policy=Policy(row["policy"]),
        placement=tuple(map(int, row["placement"])),
        gammas=tuple(map(float, row["gammas"])),
        cap=int(row["cap"]),
        verify=bool(row["verify"]),
        gates=tuple(map(float, row["gates"])) if "gates" in row else (),
    )
    forms = (form_named(str(row["form"])),) if "form" in row and design.placement else ()
    return next(in_forms(design, forms))


def describe_best(
    mine: pd.DataFrame, plan: SweepPlan, evaluator: AnyEvaluator, swept: frozenset[str]
) -> dict[str, Any]:
    """Describe the best design of one device, by the first objective, as JSON holds it.

    Args:
        mine: The rows of the device that may be chosen from.
        plan: What was swept.
        evaluator: What the rows were evaluated by.
        swept: Labels of the designs that were there before thresholds were refined.

    Returns:
        The row, the best with each form of the heads where there were several, what the best was
        refined from, the oracle's ceilings, where the time goes, how far other prompts would
        differ, and what choosing on these prompts flatters.
    """
    objective = plan.objectives[0]
    row = best_row(mine, objective)
    design, device = design_of(row), str(row["device"])
    return {
        **best_rows(mine, objective, plan.space.forms),
        **found_among(mine, objective, swept),
        "oracle": _ceilings(design, device, plan, evaluator),
        "details": evaluator.details(design, device),
        "prompts": evaluator.over_prompts(design, device),
    }


def best_rows(mine: pd.DataFrame, objective: str, forms: Sequence[HeadForm]) -> dict[str, Any]:
    """Return the best row of one device, and with each form of heads, as JSON holds them.

    Args:
        mine: The rows of the device that may be chosen from.
        objective: What makes a design good.
        forms: The forms of the heads, where there are several to choose from.
    """
    of_form = by_form(mine)
    bests = {
        form.label: _plain(best_row(of_form[form.label], objective))
        for form in forms
        if form.label in of_form
    }
    return {**_plain(best_row(mine, objective)), **({"forms": bests} if bests else {})}


def found_among(mine: pd.DataFrame, objective: str, swept: frozenset[str]) -> dict[str, Any]:
    """Return what the best design was refined from, and what choosing on these prompts flatters.

    Args:
        mine: The rows of the device that may be chosen from.
        objective: What makes a design good.
        swept: Labels of the designs that were there before thresholds were refined.
    """
    before = mine[mine["design"].isin(swept)]
    best, unrefined = best_row(mine, objective), best_row(before, objective)
    return {
        "refined_from": None if unrefined["design"] == best["design"] else str(unrefined["design"]),
        "unrefined_speedup": float(unrefined["speedup"]),
        "held_out": _held_out(before),
    }


def _ceilings(
    design: Design, device: str, plan: SweepPlan, evaluator: AnyEvaluator
) -> dict[str, dict[str, Any]]:
    """Return the oracle's speedup on the design's heads (in its form), and on all (in any)."""
    own = (design.form,) if isinstance(design, FormedDesign) else ()
    choices: dict[str, tuple[tuple[int, ...], tuple[HeadForm, ...]]] = {
        "same_heads": (design.placement, own),
        "all_heads": (plan.space.depths, plan.space.forms),
    }
    found = {}
    for name, (placement, forms) in choices.items():
        if not placement:
            continue
        oracles = [
            formed
            for cap in plan.space.caps
            for formed in in_forms(Design.of(Policy.ORACLE, placement=placement, cap=cap), forms)
        ]
        rows = evaluator.evaluate(oracles)
        rows = rows[rows["device"] == device]
        top = rows.iloc[int(rows["speedup"].argmax())]
        found[name] = {"design": top["design"], "speedup": float(top["speedup"])}
    return found


def _held_out(mine: pd.DataFrame) -> dict[str, float] | None:
    """Return what choosing on these prompts flatters; None with a single prompt.

    The best design on every other prompt is tried on the rest, and the other way round.

    Returns:
        chosen: Its mean speedup where it was chosen. elsewhere: Its mean speedup on the rest.
        best_elsewhere: The mean speedup of the best design there.
    """
    halves = mine["speedup_first"].to_numpy(), mine["speedup_second"].to_numpy()
    if np.isnan(halves).any():
        return None
    pairs = [halves, halves[::-1]]
    return {
        "chosen": float(np.mean([here.max() for here, _ in pairs])),
        "elsewhere": float(np.mean([there[here.argmax()] for here, there in pairs])),
        "best_elsewhere": float(np.mean([there.max() for _, there in pairs])),
    }


def _plain(row: pd.Series) -> dict[str, Any]:
    """Return a row as JSON holds it: None where a number is not known."""
    design = design_of(row)
    numbers = {
        name: None if pd.isna(row[name]) else float(row[name])
        for name in row.index
        if isinstance(row[name], (float, np.floating))
    }
    parts = {k: list(v) if isinstance(v, tuple) else v for k, v in design.parts().items()}
    form = {"form": row["form"]} if "form" in row else {}
    return {"design": design.label, **parts, **form, **numbers}
