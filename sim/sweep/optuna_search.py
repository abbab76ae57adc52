"""Search where a design space is too large to go through: Optuna proposes, the compiled replay evaluates.

And what an exhaustive sweep leaves open: one threshold per head, refined around its best design.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.sweep.executor import Submit
from adadecode.sim.sweep.head_forms import AnyEvaluator, form_named, in_forms
from adadecode.sim.sweep.objective import costs
from adadecode.sim.sweep.space import Space, schedule

BATCH = 64
"""Designs that Optuna proposes before it hears of the first: a call of the compiled replay costs as much as a few of them."""

PART = 16
"""Of these, so many go to one worker."""

SEED = 0


def optuna_search(
    evaluator: AnyEvaluator,
    space: Space,
    *,
    submit: Submit,
    objectives: Sequence[str],
    trials: int,
    journal: Path,
    done: Callable[[int], None],
) -> Iterator[pd.DataFrame]:
    """Rows of `Evaluator.evaluate`, evaluated by ``submit``, a batch at a time, of ``trials`` designs that Optuna chose; those of an interrupted search first.

    The objectives are those of the evaluator's first device. Thresholds are continuous, one per head, between the smallest and the largest gamma of
    the space. One objective: TPE; several: NSGA-II. journal: where trials are kept. done: told how many designs are finished.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError(
            "a search needs Optuna: pip install 'adadecode[sweep]', or make the space smaller for an exhaustive sweep"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        samplers = optuna.samplers
        sampler: Any = (
            samplers.TPESampler(seed=SEED, constant_liar=True)
            if len(objectives) == 1
            else samplers.NSGAIISampler(seed=SEED)
        )
        study = optuna.create_study(
            study_name="sweep",
            directions=["minimize"] * len(objectives),
            sampler=sampler,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            load_if_exists=True,
        )
    first_device = evaluator.devices[0].latencies.device

    def evaluated(trials: Sequence[Any]) -> pd.DataFrame:
        designs = [_design(space, trial) for trial in trials]
        parts = [submit(designs[at : at + PART]) for at in range(0, len(designs), PART)]
        return pd.concat([part.result() for part in parts], ignore_index=True)

    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    for first in range(0, len(finished), BATCH):
        yield evaluated(finished[first : first + BATCH])
    count = len(finished)
    while count < trials:
        asked = [study.ask() for _ in range(min(BATCH, trials - count))]
        rows = evaluated(asked)
        values = costs(rows[rows["device"] == first_device], objectives)
        for trial, cost in zip(asked, values.tolist(), strict=True):
            study.tell(trial, cost)
        count += len(asked)
        done(count)
        yield rows


def _design(space: Space, trial: Any) -> Design:
    """The design that a trial names."""
    bare = _bare(space, trial)
    chosen = space.forms
    if chosen and bare.placement:
        chosen = (form_named(trial.suggest_categorical("form", [form.label for form in chosen])),)
    return next(in_forms(bare, chosen))


def _bare(space: Space, trial: Any) -> Design:
    """How many heads, which, each with its threshold, which cap; whatever their form."""
    policy = Policy(trial.suggest_categorical("policy", [str(policy) for policy in space.policies]))
    if policy is Policy.VANILLA:
        return Design(policy=policy)
    cap = trial.suggest_categorical("cap", list(space.caps))
    most = 1 if policy is Policy.FIXED else trial.suggest_int("heads", 1, space.most)
    left = list(space.depths)
    placement = []
    for head in range(most):
        last = len(left) - (most - head)  # so that the heads after it find a place
        at = round(trial.suggest_float(f"depth_{head}", 0.0, 1.0) * last)
        placement.append(left[at])
        left = left[at + 1 :]
    if policy is not Policy.ADADECODE:
        return Design.of(policy, placement=placement, cap=cap)
    low, high = min(space.gammas), max(space.gammas)
    gammas = tuple(trial.suggest_float(f"gamma_{head}", low, high) for head in range(most))
    return Design.of(policy, placement=placement, gamma=gammas, cap=cap)


def refine(
    evaluate: Callable[[Sequence[Design]], pd.DataFrame],
    space: Space,
    best: Design,
    objective: str,
    device: str,
) -> Iterator[pd.DataFrame]:
    """Rows of designs with one threshold per head, around ``best``: head by head, as long as one of the space's gammas or their neighbours helps.

    Ends at a design that no change of a single threshold betters; another one may still be better.
    """
    if best.policy is not Policy.ADADECODE or len(best.placement) < 2:
        return
    choices = sorted(
        {
            *space.gammas,
            *(
                gamma
                for g in space.gammas
                for s in space.slopes
                for gamma in schedule(g, s, best.placement, space.n_layers)
            ),
        }
    )
    now, least, seen = best, float("inf"), {best}
    while True:
        tried = [
            replace(now, gammas=(*now.gammas[:head], gamma, *now.gammas[head + 1 :]))
            for head in range(len(now.placement))
            for gamma in choices
        ]
        fresh = [design for design in dict.fromkeys(tried) if design not in seen]
        if not fresh:
            return
        seen.update(fresh)
        rows = evaluate([now, *fresh])
        mine = rows[rows["device"] == device]
        cost = costs(mine, [objective])[:, 0]
        least = min(least, float(cost[0]))
        yield rows[rows["design"] != now.label]
        if not cost[1:].min() < least:
            return
        now, least = fresh[int(cost[1:].argmin())], float(cost[1:].min())
