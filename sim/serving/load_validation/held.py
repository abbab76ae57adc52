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
"""Signed relative errors by time and statistic."""


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
    def errors(self) -> Errors:
        """Simulated / measured - 1, the median over the runs (T2)."""
        pairs = zip(self.simulated, self.measured, strict=True)
        return _medians([errors(ours, theirs) for ours, theirs in pairs])

    @cached_property
    def noise(self) -> Errors | None:
        """A later run / the first one - 1, the median; None where there is one run alone."""
        first, *later = self.measured
        return _medians([errors(one, first) for one in later]) if later else None

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
            "noise": self.noise,
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


def _medians(found: Sequence[Errors]) -> Errors:
    """Return the median of errors, by time and statistic."""
    first = found[0]
    return {
        time: {
            name: float(np.median([one[time][name] for one in found if name in one[time]]))
            for name in known
        }
        for time, known in first.items()
    }
