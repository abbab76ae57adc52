"""Loads of a profile held against their replays, and against what latencies alone predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adadecode.profiles.store import Profile
from adadecode.sim.serving.batching.recorded_load import LoadRun, load_runs
from adadecode.sim.serving.load_validation.batch_times import BatchTimes
from adadecode.sim.serving.load_validation.replay import ReplayedLoad, replay_load
from adadecode.sim.serving.load_validation.simulate import simulate_load
from adadecode.sim.serving.metrics.comparison import errors
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics, measure

Errors = Mapping[str, Mapping[str, float]]
"""Relative errors by time and statistic."""


COMPARED_TIMES = ("ttft_s", "tpot_s", "e2e_s")
COMPARED_STATISTICS = ("mean", "p99")
"""What T2 compares."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldLoad:
    """What one engine did with a load, in all its runs, beside the simulation.

    Attributes:
        run: The first run.
        replays: The replay of each run (T0 and T1).
        measured: The figures of each run.
        simulated: The figures that follow from the arrivals of each run and from latencies that
            were measured apart (T2).
    """

    run: LoadRun
    replays: tuple[ReplayedLoad, ...]
    measured: tuple[LoadMetrics, ...]
    simulated: tuple[LoadMetrics, ...]

    @property
    def exact(self) -> bool:
        """Whether every step of every run is formed again (T0)."""
        return not any(one.why for one in self.replays)

    @cached_property
    def signed_errors(self) -> tuple[Errors, ...]:
        """Simulated / measured - 1, of each run (T2)."""
        pairs = zip(self.simulated, self.measured, strict=True)
        return tuple(errors(ours, theirs) for ours, theirs in pairs)

    @cached_property
    def errors(self) -> Errors:
        """By how much the runs are missed, without its sign: the median over them (T2)."""
        return _median_sizes(self.signed_errors)

    @cached_property
    def signed_noise(self) -> tuple[Errors, ...]:
        """A run / the first one - 1, of each later run."""
        first, *later = self.measured
        return tuple(errors(one, first) for one in later)

    @cached_property
    def noise(self) -> Errors | None:
        """By how much later runs differ from the first, without its sign: the median over them.

        None where there is one run alone.
        """
        return _median_sizes(self.signed_noise) if self.signed_noise else None

    @property
    def time_error(self) -> float | None:
        """The largest error of a time of a request (T1); None where no run is formed again."""
        found = [one.time_error for one in self.replays if one.time_error is not None]
        return max(found) if found else None

    @property
    def median_error(self) -> float:
        """The median of `errors` over the times and statistics that T2 compares."""
        return _median_of_compared(self.errors)

    @property
    def median_noise(self) -> float | None:
        """The same of `noise`."""
        return None if self.noise is None else _median_of_compared(self.noise)

    def to_json(self) -> dict[str, Any]:
        """Return what ``adadecode-sim validate --json`` prints of it."""
        return {
            "design": self.run.settings.design.label,
            "settings": self.run.settings.parts(),
            "requests": len(self.run.requests),
            "steps": [asdict(one) for one in self.replays],
            "measured": [one.to_json() for one in self.measured],
            "simulated": [one.to_json() for one in self.simulated],
            "errors": self.errors,
            "signed_errors": self.signed_errors,
            "noise": self.noise,
            "signed_noise": self.signed_noise,
        }


def hold_loads(profile: Profile) -> tuple[HeldLoad, ...]:
    """Return the loads of a profile beside their simulations; none where it holds none.

    Raises:
        ProfileError: What the profile says of its loads contradicts itself.
        LatencyError: It holds no latencies for them.
    """
    runs = load_runs(profile)
    by_settings: dict[str, list[LoadRun]] = {}
    for run in runs:
        by_settings.setdefault(str(run.settings.parts()), []).append(run)
    return tuple(_held(profile, alike, runs.index(alike[0])) for alike in by_settings.values())


def _held(profile: Profile, alike: Sequence[LoadRun], number: int) -> HeldLoad:
    pieces = profile.load_pieces[profile.load_pieces["run"] == number]
    times = BatchTimes.of(pieces, alike[0].settings.block_size)
    return HeldLoad(
        run=alike[0],
        replays=tuple(map(replay_load, alike)),
        measured=tuple(measure(run.served) for run in alike),
        simulated=tuple(measure(simulate_load(run, times.pricer(run))) for run in alike),
    )


def _median_sizes(found: Sequence[Errors]) -> Errors:
    """Return the median of errors without their signs, by time and statistic."""
    first = found[0]
    return {
        time: {
            name: float(np.median([abs(one[time][name]) for one in found if name in one[time]]))
            for name in known
        }
        for time, known in first.items()
    }


def _median_of_compared(found: Errors) -> float:
    """Return the median over `COMPARED_TIMES` and `COMPARED_STATISTICS`."""
    return float(
        np.median(
            [
                found[time][name]
                for time in COMPARED_TIMES
                for name in COMPARED_STATISTICS
                if name in found.get(time, {})
            ]
        )
    )
