"""How far a prediction may be off.

Latencies that were carried or estimated have intervals: a prediction is priced at every corner of
them. Measured latencies have none; there the profile's own measured runs tell how far predictions
miss.
"""

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
from adadecode.sim.validation.result import spread
from adadecode.sim.validation.tiers import compared_cells


@dataclass(frozen=True, kw_only=True)
class PredictionInterval:
    """The ends of a prediction's interval; None where they are unknown.

    Attributes:
        tpot_s_low: Fewest seconds per output token.
        tpot_s_high: Most seconds per output token.
        speedup_low: Lowest speedup over vanilla.
        speedup_high: Highest speedup over vanilla.
    """

    tpot_s_low: float | None = None
    tpot_s_high: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None


def corner_interval(
    model: BranchModel, tables: Mapping[str, LatencyTable], design: Design, prompts: Sequence[int]
) -> PredictionInterval:
    """Price a design at every corner of its device's intervals.

    Exits and accepts do not depend on times, so that each design is replayed once.

    Args:
        model: Of the trace to replay.
        tables: The latencies at each of ``CORNERS``, "middle" among them.
        design: What to price, with vanilla.
        prompts: What to replay.
    """
    vanilla = _corner_tpots(model, tables, Design(policy=Policy.VANILLA), prompts)
    tpots = _corner_tpots(model, tables, design, prompts)
    speedups = [vanilla[corner] / tpots[corner] for corner in CORNERS]
    return PredictionInterval(
        tpot_s_low=tpots["low"],
        tpot_s_high=tpots["high"],
        speedup_low=min(speedups),
        speedup_high=max(speedups),
    )


def _corner_tpots(
    model: BranchModel, tables: Mapping[str, LatencyTable], design: Design, prompts: Sequence[int]
) -> dict[str, float]:
    """Return the seconds per output token after the first, by corner."""
    runs = replay(model.trace, tables["middle"], design, prompts, model=model, events=True)
    boundaries = design.boundaries(model.n_layers)
    return {corner: _tpot(runs, tables[corner], boundaries) for corner in CORNERS}


def _tpot(runs: Sequence[ReplayedRun], latency: LatencyTable, boundaries: Sequence[int]) -> float:
    pricer = Pricer(latency, boundaries)
    seconds = 0.0
    for run in runs:
        pricer.reset()
        seconds += sum(pricer(event.work) for event in run.events)
    return seconds / sum(run.n_tokens - 1 for run in runs)


@dataclass(frozen=True, kw_only=True)
class MeasuredMisses:
    """How far a profile's own timed runs are missed nine times in ten (T2), as shares.

    Attributes:
        time: Relative error of the run time; None where no run was timed.
        speedup: Relative error of the speedup; None where none was measured.
    """

    time: float | None = None
    speedup: float | None = None

    @classmethod
    def of(cls, profile: Profile) -> MeasuredMisses:
        """Validate the timed runs of a profile, and nothing else of it."""
        runs = profile.runs[~profile.runs["instrumented"].astype(bool)]
        if runs.empty:
            return cls()
        timed_alone = replace(
            profile, runs=runs, rounds=profile.rounds.iloc[:0], works=profile.works.iloc[:0]
        )
        cells = compared_cells(timed_alone)
        return cls(
            time=spread(cells["prediction_error"])["p90"],
            speedup=spread(cells["speedup_error"])["p90"],
        )

    def interval(self, prediction: Prediction) -> PredictionInterval:
        """Return the interval of a prediction from the profile's own latencies.

        Vanilla is as fast as itself, so that its speedup has no error.
        """
        speedup = 0.0 if prediction.design.policy is Policy.VANILLA else self.speedup
        tpot_low, tpot_high = _around(prediction.tpot_s, self.time)
        speedup_low, speedup_high = _around(prediction.speedup, speedup)
        return PredictionInterval(
            tpot_s_low=tpot_low,
            tpot_s_high=tpot_high,
            speedup_low=speedup_low,
            speedup_high=speedup_high,
        )


def _around(value: float, miss: float | None) -> tuple[float | None, float | None]:
    if miss is None:
        return None, None
    return value / (1 + miss), value * (1 + miss)
