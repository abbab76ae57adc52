"""How far a prediction may be off: priced at every corner of its device's intervals, or as a profile's own measured runs were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.hardware.latency_points import CORNERS
from adadecode.sim.prediction.predictor import Prediction
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.pricer import Pricer
from adadecode.sim.replay.simulation import ReplayedRun, replay
from adadecode.sim.validation.tiers import spread, validate


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The ends of a prediction's interval, seconds and ratios; None where nothing tells."""

    tpot_s_low: float | None = None
    tpot_s_high: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None


def corner_ends(
    model: BranchModel, tables: Mapping[str, LatencyTable], design: Design, prompts: Sequence[int]
) -> Ends:
    """From the tables of all ``CORNERS``. Exits and accepts do not depend on times: each design is replayed once, and its work priced at every corner."""
    runs = {
        one: replay(model.trace, tables["middle"], one, prompts, model=model, events=True)
        for one in (design, Design(policy=Policy.VANILLA))
    }
    tpot = {
        one: {
            corner: _tpot(run, tables[corner], one.boundaries(model.n_layers)) for corner in CORNERS
        }
        for one, run in runs.items()
    }
    ours, vanilla = tpot.values() if len(tpot) > 1 else [*tpot.values()] * 2
    speedups = [vanilla[corner] / ours[corner] for corner in CORNERS]
    return Ends(
        tpot_s_low=ours["low"],
        tpot_s_high=ours["high"],
        speedup_low=min(speedups),
        speedup_high=max(speedups),
    )


def _tpot(runs: Sequence[ReplayedRun], latency: LatencyTable, boundaries: Sequence[int]) -> float:
    """Seconds per output after the first."""
    pricer = Pricer(latency, boundaries)
    seconds = 0.0
    for run in runs:
        pricer.reset()
        seconds += sum(pricer(event.work) for event in run.events)
    return seconds / sum(run.n_tokens - 1 for run in runs)


def measured_misses(profile: Profile) -> tuple[float | None, float | None]:
    """How far this profile's own timed runs are missed nine times in ten (T2): relative error of the time, and of the speedup; None where none was timed."""
    runs = profile.runs[~profile.runs["instrumented"].astype(bool)]
    if runs.empty:
        return None, None
    cells = validate(
        replace(profile, runs=runs, rounds=profile.rounds.iloc[:0], works=profile.works.iloc[:0])
    ).cells  # this tier alone
    return spread(cells["prediction_error"])["p90"], spread(cells["speedup_error"])["p90"]


def measured_ends(profile: Profile, prediction: Prediction) -> Ends:
    """The same miss around a prediction from this profile's own latencies. Vanilla is as fast as itself."""
    time, speedup = measured_misses(profile)
    if prediction.design.policy is Policy.VANILLA:
        speedup = 0.0
    ends: dict[str, float | None] = {}
    for name, value, miss in (
        ("tpot_s", prediction.tpot_s, time),
        ("speedup", prediction.speedup, speedup),
    ):
        ends[f"{name}_low"], ends[f"{name}_high"] = (
            (None, None) if miss is None else (value / (1 + miss), value * (1 + miss))
        )
    return Ends(**ends)
