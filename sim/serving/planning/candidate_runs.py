"""Runs of one candidate of a plan, with any number of replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from adadecode.sim.serving.exits.exit_server import serve_exits
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics, measure
from adadecode.sim.serving.metrics.slo import Slo
from adadecode.sim.serving.planning.bottleneck import Bottleneck, bottleneck
from adadecode.sim.serving.planning.candidate import Candidate
from adadecode.sim.serving.planning.sizing import Trial
from adadecode.sim.serving.planning.sure_miss import SureMiss
from adadecode.sim.serving.server import ServedLoad, TimeShares, serve
from adadecode.sim.serving.workloads.workload import Workload


@dataclass(frozen=True, eq=False)
class CandidateRuns:
    """The runs of one candidate, and what their time went into.

    Attributes:
        candidate: The server.
        requests: Returns the requests of a seed.
        slo: The objectives.
        routing: The rule that picks the replica of a request.
        warmup_s: Requests that arrive within so many seconds are left out of the figures.
        report: Called with the name of the candidate and a number of replicas, before each run.
        shares: What the time of each run went into, by replicas and seed.
    """

    candidate: Candidate
    requests: Callable[[int], Workload]
    slo: Slo
    routing: str
    warmup_s: float
    report: Callable[[str, int], None] | None
    shares: dict[tuple[int, int], TimeShares] = field(default_factory=dict)

    def run(self, replicas: int, seed: int) -> LoadMetrics:
        """Serve the load of a seed to its end."""
        return self._figures(replicas, seed, self._serve(replicas, seed, None))

    def quick(self, replicas: int) -> LoadMetrics | str:
        """Serve the load of the first seed, and leave it where an objective is missed for sure."""
        workload = self.requests(0)
        watch, one = None, self.candidate
        if one.exits is None and (workload.in_flight is None or not self.warmup_s):
            watch = SureMiss(self.slo, workload.requests, self.warmup_s)
        found = self._serve(replicas, 0, watch)
        if watch is not None and watch.objective is not None:
            return watch.objective
        return self._figures(replicas, 0, found)

    def alone(self) -> dict[str, float]:
        """Return the margins of the objectives where each request has a server to itself."""
        workload = replace(self.requests(0), in_flight=1)
        return self.slo.margins(measure(self._served(workload, 1, None).served))

    def binds(self, below: Trial) -> Bottleneck:
        """Return what binds in most runs of a trial that misses the objectives."""
        found = Counter(
            bottleneck(
                run,
                self.shares[below.replicas, seed],
                below.worst,
                self.candidate.ridge_tokens,
            )
            for seed, run in enumerate(below.runs.runs)
        )
        return found.most_common(1)[0][0]

    def _serve(self, replicas: int, seed: int, watch: SureMiss | None) -> ServedLoad:
        if self.report is not None:
            self.report(self.candidate.label, replicas)
        return self._served(self.requests(seed), replicas, watch)

    def _served(self, workload: Workload, replicas: int, watch: SureMiss | None) -> ServedLoad:
        one = self.candidate
        if one.exits is not None:
            return serve_exits(
                workload.requests,
                one.settings,
                one.exits.decoding,
                in_flight=workload.in_flight,
                replicas=replicas,
                routing=self.routing,
                seed=workload.seed,
                keep_steps=True,
            ).load
        return serve(
            workload.requests,
            one.settings,
            one.price,
            in_flight=workload.in_flight,
            replicas=replicas,
            routing=self.routing,
            watch=watch,
        )

    def _figures(self, replicas: int, seed: int, found: ServedLoad) -> LoadMetrics:
        shares = found.shares or TimeShares.of(found.steps, self.candidate.settings)
        self.shares[replicas, seed] = shares
        return measure(found.served, warmup_s=self.warmup_s, use=found.use)
