"""A sweep through a design space: evaluated part by part, kept as it goes, and resumed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, as_completed
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles.errors import DesignError, InputError
from adadecode.profiles.folder_lock import lock_folder
from adadecode.sim.core.design import Design
from adadecode.sim.sweep.best_design import best_row, by_form, describe_best, design_of, runnable
from adadecode.sim.sweep.executor import Submit
from adadecode.sim.sweep.head_forms import AnyEvaluator, in_forms
from adadecode.sim.sweep.objective import costs
from adadecode.sim.sweep.optuna_search import Search, optuna_search, refine
from adadecode.sim.sweep.pareto import pareto_front
from adadecode.sim.sweep.parts import PARTS, SweepParts
from adadecode.sim.sweep.plan import SCHEMA_VERSION, SweepPlan
from adadecode.sim.sweep.row_checks import check_rows
from adadecode.sim.sweep.store import (
    SCHEMA,
    Sweep,
    abandon,
    begin,
    finish,
    has_parts,
    is_finished,
    read_sweep,
    remove_parts,
)
from adadecode.sim.sweep.table import NUMBERS

PART = 256
"""Designs in a part.

They take some tenths of a second, so that little is lost and little is spent on passing them
around.
"""

Progress = Callable[[int, int], None]
"""Called with how many designs are done, and of how many."""

Note = Callable[[str], None]
"""Called with a sentence that the user should read."""


def run_sweep(
    plan: SweepPlan,
    evaluator: AnyEvaluator,
    submit: Submit,
    out: Path,
    about: Mapping[str, Any],
    progress: Progress | None = None,
    note: Note | None = None,
) -> Sweep:
    """Evaluate all of a plan, write it to a directory and read it back.

    A finished sweep of the same plan is returned as it is; an unfinished one goes on.

    Args:
        plan: What is swept.
        evaluator: What refines the best designs and describes them.
        submit: Starts the evaluation of a part.
        out: The directory.
        about: What ``sweep.json`` is to hold besides.
        progress: Called as designs are done.
        note: Called where a part that was kept is damaged and is evaluated again; by default it is
            a warning.

    Raises:
        ProfileError: If ``out`` holds something else.
        InputError: If another process sweeps into ``out``, or it cannot be written to.
        DesignError: If nothing is known of an objective.
        KeyboardInterrupt: If the user interrupts it; the message says what is kept.
    """
    _check_known(plan, evaluator)
    if is_finished(plan, out) and not has_parts(out):
        return read_sweep(out)
    with lock_folder(out):
        if is_finished(plan, out):  # another process may have finished it by now
            remove_parts(out)
            return read_sweep(out)
        try:
            begin(plan, out)
            _run(plan, evaluator, submit, out, about, progress or _no_progress, note or _warn)
        except InputError:
            abandon(out)
            raise
        except KeyboardInterrupt as interrupt:
            if interrupt.args:
                raise
            raise KeyboardInterrupt(
                f"interrupted: the parts that are finished are kept in {out}; sweep again as "
                "before to go on"
            ) from None
    return read_sweep(out)


def _no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


def _warn(note: str) -> None:
    warnings.warn(note, stacklevel=2)


def _run(
    plan: SweepPlan,
    evaluator: AnyEvaluator,
    submit: Submit,
    out: Path,
    about: Mapping[str, Any],
    progress: Progress,
    note: Note,
) -> None:
    devices = [one.latencies.device for one in evaluator.devices]
    kept = SweepParts(folder=out / PARTS, plan=plan, devices=devices, note=note)
    parts = (
        _searched(plan, evaluator, submit, out, progress)
        if plan.trials
        else _exhaustive(plan, submit, kept, progress)
    )
    rows = pd.concat(list(parts), ignore_index=True)
    swept = frozenset(rows["design"])
    rows = pd.concat([rows, *_refined(rows, plan, evaluator)], ignore_index=True)
    rows = rows.drop_duplicates(["design", "device"], ignore_index=True)
    check_rows(rows, NUMBERS, out, f"remove {out / PARTS} and sweep again")
    candidates = runnable(rows).groupby("device", sort=False)
    rows["pareto"] = False
    for _, mine in candidates:
        rows.loc[mine.index, "pareto"] = pareto_front(costs(mine, plan.objectives))
    described = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        **about,
        **plan.to_dict(),
        "plan": plan.digest,
        "method": "optuna" if plan.trials else "exhaustive",
        "optimal": not plan.trials,
        "designs": int(rows["design"].nunique()),
        "best": {
            str(device): describe_best(mine, plan, evaluator, swept) for device, mine in candidates
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    finish(out, described, rows, gated=plan.space.has_gates)


def _check_known(plan: SweepPlan, evaluator: AnyEvaluator) -> None:
    """Check that every objective is known on every device and with heads of every form.

    A form of which nothing is known would never be chosen. Raises DesignError.
    """
    never = Design.of(gamma=1.0, placement=plan.space.depths[:1], cap=plan.space.caps[0])
    rows = evaluator.evaluate(list(in_forms(never, plan.space.forms)))
    for device, on_device in rows.groupby("device", sort=False):
        for form, mine in by_form(on_device).items():
            try:
                costs(mine, plan.objectives)
            except DesignError as error:
                heads = f", heads {form}" if form else ""
                raise DesignError(f"{device}{heads}: {error}") from None


def _exhaustive(
    plan: SweepPlan, submit: Submit, kept: SweepParts, progress: Progress
) -> Iterator[pd.DataFrame]:
    """Yield every part in order; those that were kept are not evaluated again."""
    waiting: dict[Future[pd.DataFrame], int] = {}
    parts: dict[int, pd.DataFrame] = {}
    done = 0
    for index, designs in enumerate(_parts(plan.space.designs())):
        rows = kept.find(index, designs)
        if rows is None:
            waiting[submit(designs)] = index
        else:
            parts[index] = rows
            done += len(designs)
    progress(done, plan.space.size)
    for finished in as_completed(waiting):
        rows = finished.result()
        parts[waiting[finished]] = rows
        kept.keep(waiting[finished], rows)
        done += rows["design"].nunique()
        progress(done, plan.space.size)
    for index in sorted(parts):
        yield parts.pop(index)


def _searched(
    plan: SweepPlan, evaluator: AnyEvaluator, submit: Submit, out: Path, progress: Progress
) -> Iterator[pd.DataFrame]:
    search = Search(
        space=plan.space,
        objectives=plan.objectives,
        trials=plan.trials,
        kept_in=out / PARTS,
    )
    yield from optuna_search(search, evaluator, submit, lambda count: progress(count, plan.trials))


def _refined(
    rows: pd.DataFrame, plan: SweepPlan, evaluator: AnyEvaluator
) -> Iterator[pd.DataFrame]:
    """Yield designs with one threshold per head, around each device's best of each form."""
    objective = plan.objectives[0]
    for device, on_device in runnable(rows).groupby("device", sort=False):
        for mine in by_form(on_device).values():
            best = design_of(best_row(mine, objective))
            yield from refine(evaluator.evaluate, plan.space, best, objective, str(device))


def _parts(designs: Iterable[Design]) -> Iterator[list[Design]]:
    """Yield the designs, `PART` at a time."""
    left = iter(designs)
    while part := list(islice(left, PART)):
        yield part
