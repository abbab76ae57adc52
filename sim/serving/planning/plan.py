"""The smallest deployment of each device that meets the objectives under a load."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.planning.bottleneck import Bottleneck
from adadecode.sim.serving.planning.candidate import Candidate
from adadecode.sim.serving.planning.candidate_runs import CandidateRuns
from adadecode.sim.serving.planning.least_work import replicas_for_work
from adadecode.sim.serving.planning.processes import planning_processes
from adadecode.sim.serving.planning.sizing import LeftTrial, Sizing, Trial, smallest
from adadecode.sim.serving.workloads.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

Load = Callable[[int], Workload]
"""Returns the requests of the seed of this number: the same for every deployment."""

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedDeployment:
    """What a device comes to.

    Attributes:
        candidate: The server.
        sizing: The trials, and the fewest replicas that meet the objectives.
        binds: What kept one replica less from meeting them, or the most there may be, in most of
            its runs; None where one replica is enough.
        alone: Where no number of replicas meets the objectives: by objective, how much of its limit
            is left free if each request has a server to itself.
    """

    candidate: Candidate
    sizing: Sizing
    binds: Bottleneck | None
    alone: Mapping[str, float] | None = None

    @property
    def meets(self) -> bool:
        """Whether some number of replicas meets the objectives."""
        return self.sizing.chosen is not None

    @property
    def out_of_reach(self) -> str | None:
        """The objective that a request misses by most even alone; None where all are kept."""
        if self.alone is None:
            return None
        worst = min(self.alone, key=self.alone.__getitem__)
        return worst if self.alone[worst] < 0 else None

    @property
    def trial(self) -> Trial:
        """The trial of the fewest replicas that meet the objectives, or of the most that do not."""
        found = self.sizing.chosen or self.sizing.below
        assert found is not None  # something was tried
        return found

    @property
    def devices(self) -> int:
        """Devices of all replicas."""
        return self.trial.replicas * self.candidate.devices

    @property
    def hourly(self) -> float | None:
        """What an hour of all devices costs; None where nobody says."""
        return None if self.candidate.hourly is None else self.candidate.hourly * self.devices

    @property
    def cost_per_million(self) -> float | None:
        """What a million output tokens cost under this load; None where nobody says."""
        rate = self.trial.runs.interval("throughput", "output_tokens_per_s")
        if self.hourly is None or rate is None:
            return None
        return 1e6 * self.hourly / (SECONDS_PER_HOUR * rate.mean)

    def to_json(self) -> dict[str, Any]:
        """Return the deployment with its trials."""
        return {
            "device": self.candidate.name,
            "policy": self.candidate.policy,
            "meets": self.meets,
            "replicas": self.trial.replicas,
            "devices": self.devices,
            "kv_blocks": self.candidate.settings.kv_blocks,
            "binds": None if self.binds is None else str(self.binds),
            "margins_alone": None if self.alone is None else dict(self.alone),
            "cost_per_hour": self.hourly,
            "cost_per_million_output_tokens": self.cost_per_million,
            **{key: value for key, value in self.trial.to_json().items() if key != "replicas"},
            "figures": self.trial.runs.to_json(),
            "trials": [one.to_json() for one in self.sizing.trials],
            "notes": list(self.candidate.notes),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The smallest deployments of several devices under one load.

    Attributes:
        slo: The objectives.
        workload: The requests of the first seed.
        deployments: One for each candidate, in their order.
    """

    slo: Slo
    workload: Workload
    deployments: tuple[PlannedDeployment, ...]

    @property
    def cheapest(self) -> PlannedDeployment | None:
        """The deployment that meets the objectives for least; None where none does or is priced."""
        priced = [one for one in self.deployments if one.meets and one.hourly is not None]
        return min(priced, key=lambda one: one.hourly or 0.0, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``adadecode-sim plan --json`` prints."""
        cheapest = self.cheapest
        return {
            "slo": str(self.slo),
            "workload": self.workload.to_json(),
            "cheapest": None if cheapest is None else cheapest.candidate.label,
            "deployments": [one.to_json() for one in self.deployments],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row per trial: which device, how many replicas, and what they reached.

        ==============================  ==========================================================
        column                          meaning
        ==============================  ==========================================================
        device, policy, replicas,       The deployment.
        devices
        chosen                          Whether it is the smallest one that meets the objectives.
        meets, decided, verdict, seeds  Of the trial. One that was left as soon as it missed an
                                        objective for sure has no figures.
        margin, margin_low,             The smallest margin of the objectives, with its interval,
        margin_high, objective          and which one it is.
        ttft_s_p99, tpot_s_mean,        Figures, over the seeds.
        e2e_s_p99, requests_per_s,
        output_tokens_per_s
        ==============================  ==========================================================
        """
        import pandas as pd

        rows = [
            _row(one, trial)
            for one in self.deployments
            for trial in sorted(one.sizing.trials, key=lambda trial: trial.replicas)
        ]
        # Each deployment has a trial with figures, and so all columns.
        return pd.DataFrame(rows, columns=max(map(list, rows), key=len))


def plan(
    candidates: Sequence[Candidate],
    load: Load,
    slo: Slo,
    *,
    most_replicas: int = 64,
    seeds: int = 1,
    recorded: bool = False,
    routing: str = "least-loaded",
    warmup_s: float = 0.0,
    report: Callable[[str, int], None] | None = None,
    processes: int = 1,
) -> Plan:
    """Return the smallest deployment of each candidate that meets the objectives.

    All candidates and all numbers of replicas serve the same requests.

    Args:
        candidates: The servers to choose from.
        load: Returns the requests of a seed. A recorded load is the same for all.
        slo: The objectives.
        most_replicas: Replicas that there may be.
        seeds: Runs that a number of replicas may take.
        recorded: Whether the requests are the same for every seed, so that one run tells.
        routing: The rule that picks the replica of a request.
        warmup_s: Requests that arrive within so many seconds are left out of the figures.
        report: Called with the name of a candidate and a number of replicas, before each run.
        processes: Processes that plan candidates; with several, candidates and ``report`` must be
            such as can be sent to another process, and a script must guard its own beginning
            (``if __name__ == "__main__"``).

    Raises:
        InputError: If there is no candidate, two have one name, an objective cannot be told, or a
            request does not fit into the memory of a server.
    """
    names = [one.label for one in candidates]
    if not candidates or len(set(names)) < len(names):
        raise InputError(f"wanted one candidate or more, of different names, got {names}")
    made: dict[int, Workload] = {}

    def requests(seed: int) -> Workload:
        if seed not in made:
            made[seed] = load(seed)
        return made[seed]

    task = partial(
        _planned,
        slo=slo,
        most_replicas=most_replicas,
        seeds=1 if recorded else seeds,
        recorded=recorded,
        routing=routing,
        warmup_s=warmup_s,
        report=report,
    )
    at_once = min(processes, len(candidates))
    if at_once < 2:
        deployments = [task(one, requests) for one in candidates]
    else:
        drawn = _Drawn(tuple(requests(seed) for seed in range(1 if recorded else seeds)))
        with planning_processes(at_once) as pool:
            deployments = list(pool.map(task, candidates, [drawn] * len(candidates)))
    return Plan(slo=slo, workload=requests(0), deployments=tuple(deployments))


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The requests of all seeds, which can be sent to another process."""

    workloads: tuple[Workload, ...]

    def __call__(self, seed: int) -> Workload:
        return self.workloads[seed]


def _planned(
    candidate: Candidate,
    requests: Load,
    *,
    slo: Slo,
    most_replicas: int,
    seeds: int,
    recorded: bool,
    routing: str,
    warmup_s: float,
    report: Callable[[str, int], None] | None,
) -> PlannedDeployment:
    """Return the smallest deployment of one candidate."""
    runs = CandidateRuns(candidate, requests, slo, routing, warmup_s, report)
    sizing = smallest(
        runs.run,
        slo,
        most=most_replicas,
        seeds=seeds,
        recorded=recorded,
        quick=runs.quick,
        begin=replicas_for_work(candidate, requests(0)),
    )
    binds = None if sizing.below is None else runs.binds(sizing.below)
    alone = runs.alone() if sizing.chosen is None else None
    return PlannedDeployment(candidate=candidate, sizing=sizing, binds=binds, alone=alone)


def _row(one: PlannedDeployment, trial: Trial | LeftTrial) -> dict[str, Any]:
    known = {
        "device": one.candidate.name,
        "policy": one.candidate.policy,
        "replicas": trial.replicas,
        "devices": trial.replicas * one.candidate.devices,
        "chosen": trial is one.sizing.chosen,
        "meets": trial.meets,
    }
    if isinstance(trial, LeftTrial):
        return {**known, "decided": True, "seeds": 1, "objective": trial.objective}
    figures = {
        f"{metric}_{statistic}".removeprefix("throughput_"): trial.runs.interval(metric, statistic)
        for metric, statistic in (
            *(("ttft_s", "p99"), ("tpot_s", "mean"), ("e2e_s", "p99")),
            *(("throughput", "requests_per_s"), ("throughput", "output_tokens_per_s")),
        )
    }
    margin = trial.margins[trial.worst]
    return {
        **known,
        "decided": trial.decided,
        "verdict": str(trial.runs.verdict),
        "seeds": len(trial.runs.runs),
        "objective": trial.worst,
        "margin": margin.mean,
        "margin_low": margin.low,
        "margin_high": margin.high,
        **{name: math.nan if found is None else found.mean for name, found in figures.items()},
    }
