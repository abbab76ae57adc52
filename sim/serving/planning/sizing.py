"""How many replicas meet the objectives: the fewest, found by bisection.

A number of replicas is tried with one seed after the other, each time on the same requests, until
the confidence interval of every objective lies on one side of its limit. It is looked at after
every run and for every objective, so that it is wrong more often than its nominal level says. More
replicas are assumed never to be slower, so that the fewest lie between the most that miss the
objectives and the fewest that were seen to meet them. Where the search begins is free, and has no
say in what it finds.

Where one run decides, it may be left as soon as it is clear that it misses an objective. Of the
most replicas that miss, the run is then done again to its end, as its figures are part of the
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics
from adadecode.sim.serving.metrics.replications import Interval, Replications
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.metrics.verdict import Verdict

Run = Callable[[int, int], LoadMetrics]
"""Serves the load with so many replicas and the seed of this number; returns its figures."""

QuickRun = Callable[[int], LoadMetrics | str]
"""As `Run` with the first seed, or the name of an objective, as soon as that is missed for sure."""

FEWEST_SEEDS = 3
"""Runs before an interval is believed: of two it is as wide as it is useless."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What a number of replicas came to.

    Attributes:
        replicas: How many there were.
        runs: A run for each seed.
        margins: By objective, how much of its limit is left free, over the seeds; below 0 where it
            is missed.
        meets: Whether all objectives are met and no run is overloaded.
        decided: Whether every interval lies on one side, a run is overloaded, or the load is a
            recorded one. Where the seeds were used up before, the mean decides.
    """

    replicas: int
    runs: Replications
    margins: Mapping[str, Interval]
    meets: bool
    decided: bool

    @property
    def worst(self) -> str:
        """The objective with the smallest margin."""
        return min(self.margins, key=lambda name: self.margins[name].mean)

    def to_json(self) -> dict[str, Any]:
        """Return the margins with their ends, None where a single run does not tell them."""
        seeds = len(self.runs.runs)
        return {
            "replicas": self.replicas,
            "seeds": seeds,
            "meets": self.meets,
            "decided": self.decided,
            "verdict": str(self.runs.verdict),
            "margins": {
                name: {
                    "mean": one.mean,
                    "low": one.low if seeds > 1 else None,
                    "high": one.high if seeds > 1 else None,
                }
                for name, one in self.margins.items()
            },
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftTrial:
    """A number of replicas that was left as soon as it was clear that an objective is missed.

    Attributes:
        replicas: How many there were.
        objective: The objective.
    """

    replicas: int
    objective: str
    meets = False

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it."""
        return {"replicas": self.replicas, "meets": False, "missed_early": self.objective}


@dataclass(frozen=True, kw_only=True, eq=False)
class Sizing:
    """The fewest replicas that meet the objectives.

    Attributes:
        chosen: Their trial; None where even the most miss them.
        below: The trial with the most replicas that miss them; None where one replica meets them.
        trials: All trials, in the order in which they were made.
    """

    chosen: Trial | None
    below: Trial | None
    trials: tuple[Trial | LeftTrial, ...]


def smallest(
    run: Run,
    slo: Slo,
    *,
    most: int,
    seeds: int,
    recorded: bool = False,
    quick: QuickRun | None = None,
    begin: int = 1,
) -> Sizing:
    """Return the fewest replicas that meet the objectives.

    Args:
        run: Serves the load.
        slo: The objectives.
        most: Replicas that there may be.
        seeds: Runs that a number of replicas may take.
        recorded: Whether the load is what it is, so that one run tells.
        quick: Serves the load where one run decides, and may leave it.
        begin: The number that is tried first.

    Raises:
        InputError: If there may be no replica or no run, or an objective cannot be told.
    """
    if most < 1 or seeds < 1:
        raise InputError(
            f"wanted one replica and one seed at least, got {most} replicas and {seeds} seeds"
        )
    trials: dict[int, Trial | LeftTrial] = {}

    def whole(replicas: int) -> Trial:
        """Return a trial that was not left, or do it again."""
        if not isinstance(found := trials.get(replicas), Trial):
            found = trials[replicas] = try_out(run, slo, replicas, seeds, recorded=recorded)
        return found

    def meets(replicas: int) -> bool:
        if quick is None or not (recorded or seeds == 1):
            return whole(replicas).meets
        found = quick(replicas)
        if isinstance(found, str):
            trials[replicas] = LeftTrial(replicas=replicas, objective=found)
        else:
            known = found
            trials[replicas] = try_out(
                lambda _replicas, _seed: known, slo, replicas, 1, recorded=recorded
            )
        return trials[replicas].meets

    low, high = _bracket(meets, min(max(begin, 1), most), most)
    while high is not None and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    below = whole(low) if low else None
    chosen = None if high is None else whole(high)
    return Sizing(chosen=chosen, below=below, trials=tuple(trials.values()))


def _bracket(meets: Callable[[int], bool], begin: int, most: int) -> tuple[int, int | None]:
    """Return a number that misses the objectives, 0 for none, and one above that meets them.

    The second is None where even the most miss them. Numbers are tried ever further away.
    """
    stride = 1
    if meets(begin):
        low, high = begin - 1, begin
        while low and meets(low):
            low, high, stride = max(low - 2 * stride, 0), low, 2 * stride
        return low, high
    low = begin
    while low < most:
        high = min(low + stride, most)
        if meets(high):
            return low, high
        low, stride = high, 2 * stride
    return low, None


def try_out(run: Run, slo: Slo, replicas: int, seeds: int, *, recorded: bool = False) -> Trial:
    """Return what a number of replicas comes to.

    Args:
        run: Serves the load.
        slo: The objectives.
        replicas: How many there are.
        seeds: Runs that it may take.
        recorded: Whether the load is what it is, so that one run tells.

    Raises:
        InputError: If an objective cannot be told from a run.
    """
    runs: list[LoadMetrics] = []
    margins: list[dict[str, float]] = []
    while True:
        runs.append(run(replicas, len(runs)))
        margins.append(slo.margins(runs[-1]))
        found = {name: Interval.of([one[name] for one in margins]) for name in margins[0]}
        overloaded = runs[-1].judgement.verdict is Verdict.OVERLOADED
        last = len(runs) == seeds
        decided = overloaded or recorded or (len(runs) >= FEWEST_SEEDS and _decided(found))
        if decided or last:
            return Trial(
                replicas=replicas,
                runs=Replications(runs=tuple(runs)),
                margins=found,
                meets=not overloaded and all(one.mean >= 0 for one in found.values()),
                decided=decided,
            )


def _decided(margins: Mapping[str, Interval]) -> bool:
    """Return whether one objective is missed for sure, or all are met for sure."""
    missed = any(one.high < 0 for one in margins.values())
    return missed or all(one.low >= 0 for one in margins.values())
