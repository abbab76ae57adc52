"""Search where a design space is too large to go through: Optuna proposes designs.

And what an exhaustive sweep leaves open: one threshold per head, refined around its best design.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.head_form import form_named
from adadecode.sim.sweep.executor import Submit
from adadecode.sim.sweep.head_forms import AnyEvaluator, in_forms
from adadecode.sim.sweep.objective import costs
from adadecode.sim.sweep.space import Space, schedule
from adadecode.sim.sweep.trial_journal import TrialJournal

BATCH = 64
"""Designs that Optuna proposes before it hears of the first.

A call of the compiled replay costs as much as a few of them.
"""

PART = 16
"""Designs of a batch that go to one worker."""

SEED = 0


class _Trial(Protocol):
    """What is used of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...  # noqa: ANN401
    def suggest_int(self, name: str, low: int, high: int) -> int: ...
    def suggest_float(self, name: str, low: float, high: float) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search of a space.

    Thresholds are continuous, one per head, between the smallest and the largest gamma of the
    space; those of gates are taken from the space's, one per head. One objective is searched by
    TPE, several by NSGA-II.

    Attributes:
        space: The designs.
        objectives: What is made good, on the evaluator's first device.
        trials: Designs to try.
        kept_in: Folder that keeps the trials, so that an interrupted search goes on.
    """

    space: Space
    objectives: Sequence[str]
    trials: int
    kept_in: Path


def optuna_search(
    search: Search, evaluator: AnyEvaluator, submit: Submit, progress: Callable[[int], None]
) -> Iterator[pd.DataFrame]:
    """Yield rows of the designs that Optuna chose, a batch at a time.

    Args:
        search: What is searched.
        evaluator: What the designs are evaluated by; its first device decides.
        submit: Starts an evaluation.
        progress: Called with the number of designs that are finished.

    Yields:
        Rows as `adadecode.sim.prediction.evaluator.Evaluator.evaluate` returns them; those of an
        interrupted search first.

    Raises:
        InputError: If Optuna is not installed, or trials that were kept are damaged.
    """
    journal = TrialJournal(search.kept_in)
    with _readable(journal):
        study = _study(search, journal)
        finished = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
        known = [_design(search.space, trial) for trial in finished]
    first_device = evaluator.devices[0].latencies.device

    def evaluated(designs: Sequence[Design]) -> pd.DataFrame:
        parts = [submit(designs[at : at + PART]) for at in range(0, len(designs), PART)]
        return pd.concat([part.result() for part in parts], ignore_index=True)

    for first in range(0, len(known), BATCH):
        yield evaluated(known[first : first + BATCH])
    count = len(known)
    while count < search.trials:
        batch = [study.ask() for _ in range(min(BATCH, search.trials - count))]
        rows = evaluated([_design(search.space, trial) for trial in batch])
        values = costs(rows[rows["device"] == first_device], search.objectives)
        for trial, cost in zip(batch, values.tolist(), strict=True):
            study.tell(trial, cost)
        journal.save()
        count += len(batch)
        progress(count)
        yield rows


@contextmanager
def _readable(journal: TrialJournal) -> Iterator[None]:
    """Turn what Optuna raises about a damaged journal into one sentence.

    It may raise anything: it trusts what it finds there.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not journal.begun:
            raise
        raise InputError(
            f"the trials in {journal.folder} are not as the search wrote them "
            f"({type(error).__name__}: {error}): remove {journal.folder} and sweep again"
        ) from None


def _study(search: Search, journal: TrialJournal) -> Any:  # noqa: ANN401 - Optuna is optional
    """Open the study in the journal, or make it."""
    try:
        import optuna
        from optuna.storages import JournalStorage
    except ImportError:
        raise InputError(
            "a search needs Optuna: pip install 'adadecode[sweep]', or make the space smaller for "
            "an exhaustive sweep"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler: Any = (
            optuna.samplers.TPESampler(seed=SEED, constant_liar=True)
            if len(search.objectives) == 1
            else optuna.samplers.NSGAIISampler(seed=SEED)
        )
        return optuna.create_study(
            study_name="sweep",
            directions=["minimize"] * len(search.objectives),
            sampler=sampler,
            storage=JournalStorage(cast("Any", journal)),
            load_if_exists=True,
        )


def _design(space: Space, trial: _Trial) -> Design:
    """Return the design that a trial names."""
    bare = _bare_design(space, trial)
    forms = space.forms
    if forms and bare.placement:
        forms = (form_named(trial.suggest_categorical("form", [form.label for form in forms])),)
    return next(in_forms(bare, forms))


def _bare_design(space: Space, trial: _Trial) -> Design:
    """Return what a trial names: policy, cap, heads and thresholds, whatever the heads' form."""
    policy = Policy(trial.suggest_categorical("policy", [str(policy) for policy in space.policies]))
    if policy is Policy.VANILLA:
        return Design(policy=policy)
    cap = trial.suggest_categorical("cap", list(space.caps))
    heads = 1 if policy is Policy.FIXED else trial.suggest_int("heads", 1, space.most)
    placement = _placement(space, trial, heads)
    if policy is not Policy.ADADECODE:
        return Design.of(policy, placement=placement, cap=cap)
    low, high = min(space.gammas), max(space.gammas)
    gammas = tuple(trial.suggest_float(f"gamma_{head}", low, high) for head in range(heads))
    gates: Sequence[float] = (0.0,) * heads
    if space.has_gates:
        gates = [
            trial.suggest_categorical(f"gate_{head}", list(space.gates)) for head in range(heads)
        ]
    return Design.of(policy, placement=placement, gamma=gammas, cap=cap, gate=gates)


def _placement(space: Space, trial: _Trial, heads: int) -> list[int]:
    """Return rising depths: each head takes one of those that leave room for the heads after it."""
    left = list(space.depths)
    placement = []
    for head in range(heads):
        last = len(left) - (heads - head)
        at = round(trial.suggest_float(f"depth_{head}", 0.0, 1.0) * last)
        placement.append(left[at])
        left = left[at + 1 :]
    return placement


def refine(
    evaluate: Callable[[Sequence[Design]], pd.DataFrame],
    space: Space,
    best: Design,
    objective: str,
    device: str,
) -> Iterator[pd.DataFrame]:
    """Yield rows of designs with one threshold per head, around the best design.

    One threshold at a time is changed, to one of the space's gammas or what its schedules make of
    them, or that of a gate to one of the space's, as long as that helps. It ends at a design that
    no change of a single threshold betters; another one may still be better.

    Args:
        evaluate: Evaluates designs.
        space: The designs that ``best`` is from.
        best: Where to begin. Only adadecode with two heads or more has anything to refine.
        objective: What is made good.
        device: The device on which it is.
    """
    if best.policy is not Policy.ADADECODE or len(best.placement) < 2:
        return
    choices = threshold_choices(space, best.placement)
    now, least, seen = best, float("inf"), {best}
    while True:
        changed = [
            *(replace(now, gammas=gammas) for gammas in _changes(now.gammas, choices)),
            *(replace(now, gates=gates) for gates in _changes(_every_gate(now), space.gates)),
        ]
        fresh = [design for design in dict.fromkeys(changed) if design not in seen]
        if not fresh:
            return
        seen.update(fresh)
        rows = evaluate([now, *fresh])
        cost = costs(rows[rows["device"] == device], [objective])[:, 0]
        least = min(least, float(cost[0]))
        yield rows[rows["design"] != now.label]
        if not cost[1:].min() < least:
            return
        now, least = fresh[int(cost[1:].argmin())], float(cost[1:].min())


def _every_gate(design: Design) -> tuple[float, ...]:
    """Return the threshold of each gate; 0 where none is asked."""
    return design.gates or (0.0,) * len(design.placement)


def _changes(each: tuple[float, ...], choices: Sequence[float]) -> Iterator[tuple[float, ...]]:
    """Yield thresholds of which one is changed, to each of the choices."""
    for head in range(len(each)):
        for choice in choices:
            yield (*each[:head], choice, *each[head + 1 :])


def threshold_choices(space: Space, placement: Sequence[int]) -> list[float]:
    """Return the space's gammas, and the thresholds that its schedules give these heads."""
    scheduled = {
        threshold
        for gamma in space.gammas
        for slope in space.slopes
        for threshold in schedule(gamma, slope, placement, space.n_layers)
    }
    return sorted({*space.gammas, *scheduled})
