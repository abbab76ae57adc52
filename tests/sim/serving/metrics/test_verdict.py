"""Whether a server keeps up: queues of which theory knows it."""

from __future__ import annotations

import numpy as np
import pytest

from adadecode.sim.serving.metrics.verdict import Verdict, judge
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.workloads import arrivals
from tests.support.served_queue import served_queue


def queue(spec: str, count: int, work_s: float, seed: int, *, equal: bool = False):
    drawn = arrivals(f"{spec},prompt=1,output=1", count=count, seed=seed).requests
    rng = np.random.default_rng(seed + 1000)
    work = np.full(count, work_s) if equal else rng.exponential(work_s, size=count)
    return served_queue([one.arrival_s for one in drawn], work.tolist())


def verdict(served, unfinished=()) -> Verdict:
    return judge(served, unfinished).verdict


@pytest.mark.parametrize("load", [0.1, 0.3, 0.4])
def test_a_light_load_is_stable(load: float) -> None:
    found = [verdict(queue(f"poisson:{load}", 1000, 1.0, seed)) for seed in range(20)]
    assert found.count(Verdict.STABLE) >= 19
    assert Verdict.OVERLOADED not in found


def test_a_load_near_saturation_waits_but_does_not_fall_behind() -> None:
    found = [verdict(queue("poisson:0.85", 1000, 1.0, seed)) for seed in range(20)]
    assert found.count(Verdict.BACKLOGGED) >= 19


@pytest.mark.parametrize("load", [1.5, 2, 10])
def test_more_work_than_can_be_done_is_overloaded(load: float) -> None:
    found = [verdict(queue(f"poisson:{load}", 1000, 1.0, seed)) for seed in range(20)]
    assert found.count(Verdict.OVERLOADED) >= 19


def test_equal_gaps_and_equal_work_are_stable_up_to_the_brink() -> None:
    assert verdict(queue("constant:1", 500, 1.0, 0, equal=True)) is Verdict.STABLE
    assert verdict(queue("constant:1", 500, 1.5, 0, equal=True)) is Verdict.OVERLOADED


def test_requests_that_come_all_at_once_are_a_backlog() -> None:
    """There is no rate that the server could fall behind."""
    assert verdict(served_queue([0.0] * 200, [1.0] * 200)) is Verdict.BACKLOGGED


def test_a_burst_that_is_worked_off_is_a_backlog() -> None:
    """200 requests at 100 s, and one a second before and after; the work is 0.1 s."""
    times = [*range(100), *[100.0] * 200, *range(101, 600)]
    found = judge(served_queue(times, [0.1] * len(times)))
    assert found.verdict is Verdict.BACKLOGGED
    assert "piled up between" in found.reason


def test_filling_an_empty_server_is_no_backlog() -> None:
    """All are served at once and each takes 100 s: ever more are there, and none takes longer."""
    served = [
        ServedRequest(
            request=Request(name=str(index), arrival_s=index, n_prompt=1, n_output=1),
            scheduled_s=index,
            token_s=(index + 100.0,),
        )
        for index in range(100)
    ]
    assert verdict(served) is Verdict.STABLE


def test_requests_that_never_end_count() -> None:
    """A run that was stopped answered the first half at once, and then nothing."""
    served = served_queue([float(index) for index in range(100)], [0.5] * 100)
    left = [
        Request(name=f"u{index}", arrival_s=100.0 + index, n_prompt=1, n_output=1)
        for index in range(100)
    ]
    assert verdict(served, left) is Verdict.OVERLOADED


def test_a_few_requests_are_not_judged_by_their_growth() -> None:
    assert verdict(served_queue([0.0, 10.0], [1.0, 1.0])) is Verdict.STABLE
    assert verdict(served_queue([0.0] * 10, [1.0] * 10)) is Verdict.BACKLOGGED
