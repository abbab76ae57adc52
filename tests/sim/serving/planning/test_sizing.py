"""The fewest replicas that meet the objectives, of queues whose answer is known."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics import LoadMetrics, Slo, Verdict, measure
from adadecode.sim.serving.planning.sizing import smallest, try_out
from adadecode.sim.serving.request import ServedRequest
from adadecode.sim.serving.workloads import arrivals


def servers(rate: float, count: int, *, equal: bool = False):
    """Return the run of so many servers behind one queue, each with work of 1 s on average."""

    def run(replicas: int, seed: int) -> LoadMetrics:
        kind = "constant" if equal else "poisson"
        spec = f"{kind}:{rate},count={count},prompt=1,output=1"
        drawn = arrivals(spec, seed=seed).requests
        work = np.ones(count) if equal else np.random.default_rng(seed + 50).exponential(size=count)
        free = [0.0] * replicas
        served = []
        for request, one in zip(drawn, work.tolist(), strict=True):
            begin = max(request.arrival_s, heapq.heappop(free))
            heapq.heappush(free, begin + one)
            served.append(ServedRequest(request=request, scheduled_s=begin, token_s=(begin + one,)))
        return measure(served)

    return run


@pytest.mark.parametrize(("rate", "wanted"), [(0.9, 1), (2.5, 3), (6.9, 7), (11.5, 12)])
def test_equal_work_needs_as_many_servers_as_there_is_work(rate: float, wanted: int) -> None:
    """With equal gaps nothing waits as soon as there is a server for all work: 1 s end to end."""
    slo = Slo.parse("e2e_p99=1.001s")
    found = smallest(servers(rate, 600, equal=True), slo, most=20, seeds=1)
    assert found.chosen is not None
    assert found.chosen.replicas == wanted
    below = 0 if found.below is None else found.below.replicas
    assert below == wanted - 1


def test_random_work_needs_more_than_that() -> None:
    """Four servers could do the work of 3.5 a second, but requests wait: theory wants six."""
    found = smallest(servers(3.5, 4000), Slo.parse("ttft_mean=1.15s"), most=16, seeds=8)
    assert found.chosen is not None
    assert found.chosen.replicas == 6
    assert found.below is not None
    assert found.below.margins["ttft_mean"].high < 0


def test_an_objective_that_no_number_meets_is_told_with_how_much_is_missing() -> None:
    found = smallest(servers(2, 400), Slo.parse("ttft_mean=500ms"), most=6, seeds=3)
    assert found.chosen is None
    assert found.below is not None
    assert found.below.replicas == 6
    assert found.below.margins["ttft_mean"].mean == pytest.approx(-1, abs=0.2)


def test_an_overloaded_number_is_left_after_one_run() -> None:
    """However loose the objective is: with more of the load it would be missed."""
    trial = try_out(servers(4, 1000), Slo.parse("ttft_mean=1h"), 1, seeds=8)
    assert len(trial.runs.runs) == 1
    assert trial.decided
    assert not trial.meets
    assert trial.runs.verdict is Verdict.OVERLOADED


def test_seeds_are_added_until_the_interval_lies_on_one_side() -> None:
    clear = try_out(servers(1, 400), Slo.parse("ttft_mean=9s"), 4, seeds=20)
    assert clear.decided
    assert len(clear.runs.runs) == 3
    close = try_out(servers(1, 400), Slo.parse("ttft_mean=1.007s"), 4, seeds=6)
    assert len(close.runs.runs) == 6
    assert not close.decided
    assert close.margins["ttft_mean"].low < 0 < close.margins["ttft_mean"].high


def test_the_document_has_no_end_where_one_run_does_not_tell() -> None:
    trial = try_out(servers(0.5, 100), Slo.parse("ttft_mean=9s"), 1, seeds=1)
    assert trial.to_json()["margins"]["ttft_mean"]["low"] is None


def test_nothing_to_try_is_refused() -> None:
    with pytest.raises(InputError, match="got 0 replicas and 3 seeds"):
        smallest(servers(1, 10), Slo.parse("ttft_mean=1s"), most=0, seeds=3)


def test_one_run_is_sure_only_of_a_recorded_load() -> None:
    queue = servers(0.5, 100)
    slo = Slo.parse("ttft_mean=9s")
    assert not try_out(queue, slo, 1, seeds=1).decided
    assert try_out(queue, slo, 1, seeds=1, recorded=True).decided
    drawn = smallest(queue, slo, most=3, seeds=1)
    assert drawn.chosen is not None
    assert not drawn.chosen.decided
