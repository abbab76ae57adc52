"""A sweep through a design space: evaluated part by part, kept as it goes, resumed where it was interrupted, and read back only when whole.

A directory: ``designs.parquet``, a row for each design on each device, and ``sweep.json``, written last, which says what was swept and how. While it
runs there are ``plan.json`` and ``parts/`` instead.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.errors import DesignError, DeviceError, InputError, ProfileError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.sweep.executor import Submit
from adadecode.sim.sweep.head_forms import AnyEvaluator, FormedDesign, form_named, in_forms
from adadecode.sim.sweep.objective import costs
from adadecode.sim.sweep.optuna_search import optuna_search, refine
from adadecode.sim.sweep.pareto import pareto_front
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import (
    ABOUT,
    PARTS,
    PLAN,
    SCHEMA,
    SCHEMA_VERSION,
    TABLE,
    Sweep,
    _read_part,
    _write,
    _write_table,
    read_sweep,
)

PART = 256
"""Designs in a part: some tenths of a second of work, so that little is lost and little is spent on passing it around."""


Progress = Callable[[int, int], None]
"""Told how many designs are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What is to be swept. sources: digests of profile and trace, prompts, devices, whatever else decides the figures. trials: of a search; 0 is exhaustive."""

    space: Space
    objectives: tuple[str, ...]
    sources: Mapping[str, Any]
    trials: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "version": SCHEMA_VERSION,
            "space": self.space.to_dict(),
            "objectives": list(self.objectives),
            "trials": self.trials,
            **self.sources,
        }

    @property
    def digest(self) -> str:
        """Of all of it."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def run_sweep(
    plan: SweepPlan,
    evaluator: AnyEvaluator,
    submit: Submit,
    out: Path,
    about: Mapping[str, Any],
    progress: Progress | None = None,
) -> Sweep:
    """Evaluate all of the plan, write it to ``out`` and read it back. A finished sweep of the same plan is returned as it is; an unfinished one goes on.

    about: what sweep.json is to say besides. Raises ProfileError where ``out`` holds something else, DesignError for an
    objective that is not known, and whatever a design raises.
    """
    _check_known(plan, evaluator)
    if _begin(plan, out):
        return read_sweep(out)
    tell = progress or (lambda _done, _all: None)
    parts = (
        _exhaustive(plan, submit, out, tell)
        if not plan.trials
        else _searched(plan, evaluator, submit, out, tell)
    )
    rows = pd.concat(list(parts), ignore_index=True)
    swept = frozenset(rows["design"])
    rows = pd.concat([rows, *_refined(rows, plan, evaluator)], ignore_index=True)
    rows = rows.drop_duplicates(["design", "device"], ignore_index=True)
    rows["pareto"] = False
    for _, mine in runnable(rows).groupby("device", sort=False):
        rows.loc[mine.index, "pareto"] = pareto_front(costs(mine, plan.objectives))
    told = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        **about,
        **plan.to_dict(),
        "plan": plan.digest,
        "method": "optuna" if plan.trials else "exhaustive",
        "optimal": not plan.trials,
        "designs": int(rows["design"].nunique()),
        "best": {
            str(device): _best(mine, plan, evaluator, swept)
            for device, mine in runnable(rows).groupby("device", sort=False)
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write_table(out / TABLE, rows)
    told["sha256"] = hashlib.sha256((out / TABLE).read_bytes()).hexdigest()
    _write(out / ABOUT, (json.dumps(told, indent=1, allow_nan=False) + "\n").encode())
    shutil.rmtree(out / PARTS)
    (out / PLAN).unlink()
    return read_sweep(out)


def _check_known(plan: SweepPlan, evaluator: AnyEvaluator) -> None:
    """Raises DesignError for an objective of which nothing is known with heads of some form, which would never be chosen."""
    never = Design.of(gamma=1.0, placement=plan.space.depths[:1], cap=plan.space.caps[0])
    rows = evaluator.evaluate(list(in_forms(never, plan.space.forms)))
    for device, there in rows.groupby("device", sort=False):
        for form, mine in _by_form(there).items():
            try:
                costs(mine, plan.objectives)
            except DesignError as error:
                raise DesignError(f"{device}{f', heads {form}' if form else ''}: {error}") from None


def _begin(plan: SweepPlan, out: Path) -> bool:
    """Make the directory ready; True where the sweep is there already. Raises ProfileError where something else is, InputError where none can be made."""
    try:
        return _prepared(plan, out)
    except OSError as error:
        raise InputError(
            f"cannot write a sweep in {out} ({error.strerror}): name another directory with --out"
        ) from None


def _prepared(plan: SweepPlan, out: Path) -> bool:
    if out.exists() and not out.is_dir():
        raise ProfileError(
            f"wanted a directory to write a sweep in, {out} is a file: name another with --out"
        )
    for name, key in ((ABOUT, "plan"), (PLAN, "digest")):
        if (out / name).is_file():
            try:
                there = json.loads((out / name).read_bytes())[key]
            except (ValueError, KeyError, TypeError):
                there = None
            if there == plan.digest:
                return name == ABOUT
            raise ProfileError(
                f"{out} holds a sweep of other settings or another profile: name another directory with --out"
            )
    if out.is_dir() and any(out.iterdir()):
        raise ProfileError(f"{out} exists and is not empty: name another directory with --out")
    (out / PARTS).mkdir(parents=True)
    _write(
        out / PLAN,
        (json.dumps({"digest": plan.digest, **plan.to_dict()}, indent=1) + "\n").encode(),
    )
    return False


def _exhaustive(
    plan: SweepPlan, submit: Submit, out: Path, tell: Progress
) -> Iterator[pd.DataFrame]:
    """Every part in order; those on disk are not evaluated again."""
    waiting: dict[Future[pd.DataFrame], Path] = {}
    paths, done = [], 0
    for index, designs in enumerate(_parts(plan.space.designs())):
        path = out / PARTS / f"{index:06d}.parquet"
        paths.append(path)
        if path.is_file():
            done += len(designs)
        else:
            waiting[submit(designs)] = path
    tell(done, plan.space.size)
    for finished in as_completed(waiting):
        rows = finished.result()
        _write_table(waiting[finished], rows)
        done += rows["design"].nunique()
        tell(done, plan.space.size)
    yield from map(_read_part, paths)


def _searched(
    plan: SweepPlan, evaluator: AnyEvaluator, submit: Submit, out: Path, tell: Progress
) -> Iterator[pd.DataFrame]:
    yield from optuna_search(
        evaluator,
        plan.space,
        submit=submit,
        objectives=plan.objectives,
        trials=plan.trials,
        journal=out / PARTS / "optuna.journal",
        done=lambda count: tell(count, plan.trials),
    )


def _refined(
    rows: pd.DataFrame, plan: SweepPlan, evaluator: AnyEvaluator
) -> Iterator[pd.DataFrame]:
    """One threshold per head, around each device's best with heads of each form."""
    for device, there in runnable(rows).groupby("device", sort=False):
        for mine in _by_form(there).values():
            best = design_of(mine.iloc[_argbest(mine, plan.objectives[0])])
            yield from refine(evaluator.evaluate, plan.space, best, plan.objectives[0], str(device))


def _by_form(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each form; under no name where there were none to choose from."""
    return (
        {str(form): mine for form, mine in rows.groupby("form", sort=False)}
        if "form" in rows
        else {"": rows}
    )


def _best(
    mine: pd.DataFrame, plan: SweepPlan, evaluator: AnyEvaluator, swept: frozenset[str]
) -> dict[str, Any]:
    """The best row of a device by the first objective, where its time goes, and the oracle's ceiling on its placement (in its form) and on all heads (in any).

    Where there are forms to choose from, the best with each as well. swept: labels of the designs that were there before thresholds were refined.
    """
    row = mine.iloc[_argbest(mine, plan.objectives[0])]
    design, device = design_of(row), str(row["device"])
    first = mine[mine["design"].isin(swept)]
    unrefined = first.iloc[_argbest(first, plan.objectives[0])]
    ceiling = {}
    own = (design.form,) if isinstance(design, FormedDesign) else ()
    for name, placement, forms in (
        ("same_heads", design.placement, own),
        ("all_heads", plan.space.depths, plan.space.forms),
    ):
        if placement:
            oracles = (
                Design.of(Policy.ORACLE, placement=placement, cap=cap) for cap in plan.space.caps
            )
            oracle = evaluator.evaluate(
                [formed for one in oracles for formed in in_forms(one, forms)]
            )
            oracle = oracle[oracle["device"] == device]
            top = oracle.iloc[int(oracle["speedup"].argmax())]
            ceiling[name] = {"design": top["design"], "speedup": float(top["speedup"])}
    each = _by_form(mine)
    bests = {
        form: each[form].iloc[_argbest(each[form], plan.objectives[0])]
        for form in (one.label for one in plan.space.forms)
        if form in each
    }
    return {
        **_plain(row),
        **({"forms": {form: _plain(one) for form, one in bests.items()}} if bests else {}),
        "refined_from": None if unrefined["design"] == row["design"] else str(unrefined["design"]),
        "unrefined_speedup": float(unrefined["speedup"]),
        "oracle": ceiling,
        "details": evaluator.details(design, device),
        "prompts": evaluator.over_prompts(design, device),
        "held_out": _held_out(first),
    }


def _held_out(mine: pd.DataFrame) -> dict[str, float] | None:
    """What choosing on these prompts flatters: the best design on every other prompt, tried on the rest, and the other way round.

    chosen: its mean speedup where it was chosen; elsewhere: where it was not; best_elsewhere: of the best design there. None with a single prompt.
    """
    halves = mine["speedup_first"].to_numpy(), mine["speedup_second"].to_numpy()
    if np.isnan(halves).any():
        return None
    pairs = [halves, halves[::-1]]
    return {
        "chosen": float(np.mean([a.max() for a, _ in pairs])),
        "elsewhere": float(np.mean([b[a.argmax()] for a, b in pairs])),
        "best_elsewhere": float(np.mean([b.max() for _, b in pairs])),
    }


def _argbest(rows: pd.DataFrame, objective: str) -> int:
    return int(np.nanargmin(costs(rows, [objective])[:, 0]))


def runnable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows to choose from: what fits, and without the oracle, a ceiling that no engine runs, unless there is nothing else. Raises DeviceError."""
    real = rows[rows["policy"] != str(Policy.ORACLE)]
    real = real if len(real) else rows
    fitting = real[real["fits"].astype(bool)]
    if lacking := sorted(set(real["device"]) - set(fitting["device"])):
        least = real.loc[real["device"] == lacking[0], "memory_bytes"].min() / 2**30
        raise DeviceError(
            f"no design of the space fits on {lacking[0]}: the smallest takes {least:.2f} GiB: take narrower weights with --dtype, fewer --max-heads, or another device"
        )
    return fitting


def design_of(row: Mapping[str, Any] | pd.Series) -> Design:
    """The design of a row."""
    design = Design(
        policy=Policy(row["policy"]),
        placement=tuple(map(int, row["placement"])),
        gammas=tuple(map(float, row["gammas"])),
        cap=int(row["cap"]),
        verify=bool(row["verify"]),
    )
    return next(
        in_forms(
            design, (form_named(str(row["form"])),) if "form" in row and design.placement else ()
        )
    )


def _plain(row: pd.Series) -> dict[str, Any]:
    """A row for JSON: null where a number is not known."""
    design = design_of(row)
    numbers = {
        name: None if pd.isna(row[name]) else float(row[name])
        for name in row.index
        if isinstance(row[name], (float, np.floating))
    }
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(design).items()}
    return {
        "design": design.label,
        **told,
        **({"form": row["form"]} if "form" in row else {}),
        **numbers,
    }


def _parts(designs: Iterable[Design]) -> Iterator[list[Design]]:
    left = iter(designs)
    while part := list(islice(left, PART)):
        yield part
