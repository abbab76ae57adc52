"""Means over seeds, their intervals, and differences on the same seeds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics import Interval, Replications, Verdict, difference, measure
from adadecode.sim.serving.workloads import arrivals
from tests.support.served_queue import served_queue


def runs(work_s: float, seeds: int, rate: float = 0.3, count: int = 300):
    found = []
    for seed in range(seeds):
        drawn = arrivals(f"poisson:{rate},count={count},prompt=1,output=1", seed=seed).requests
        work = np.random.default_rng(seed + 99).exponential(work_s, size=count)
        found.append(measure(served_queue([one.arrival_s for one in drawn], work.tolist())))
    return tuple(found)


def test_an_interval_is_that_of_student() -> None:
    """Three values of standard deviation 1, and t = 4.3027 of two degrees of freedom."""
    found = Interval.of([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3))
    assert found.low == pytest.approx(4 - found.high)


def test_a_single_seed_tells_nothing_of_its_spread() -> None:
    assert Interval.of([3.0]) == Interval(mean=3, low=-math.inf, high=math.inf)
    with pytest.raises(InputError, match="got none: run one seed or more"):
        Interval.of([])


def test_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    found = [Interval.of(rng.normal(5, 2, size=4).tolist()) for _ in range(1000)]
    assert sum(one.low <= 5 <= one.high for one in found) == pytest.approx(950, abs=25)


def test_the_document_has_the_keys_of_one_run_and_intervals_beside_them() -> None:
    found = Replications(runs=runs(1.0, 5))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    low, high = document["intervals"]["ttft_s"]["mean"]
    assert low < document["ttft_s"]["mean"] < high
    assert document["ttft_s"]["mean"] == pytest.approx(
        np.mean([one["ttft_s"]["mean"] for one in document["runs"]])
    )
    assert document["tpot_s"] is None
    assert document["seeds"] == 5
    one = Replications(runs=runs(1.0, 1))
    assert one.to_json() == one.runs[0].to_json()
    frame = found.to_frame().set_index(["metric", "statistic"])
    assert frame.loc[("ttft_s", "mean"), "low"] == pytest.approx(low)


def test_the_verdict_is_the_worst_of_the_runs() -> None:
    stable, overloaded = runs(0.1, 1), runs(9.0, 1)
    assert Replications(runs=stable).verdict is Verdict.STABLE
    assert Replications(runs=stable + overloaded).verdict is Verdict.OVERLOADED


def test_the_same_seeds_show_a_difference_that_two_intervals_do_not() -> None:
    """A server that is 3 % faster, on the same requests."""
    slow, fast = Replications(runs=runs(1.0, 6)), Replications(runs=runs(0.97, 6))
    paired = difference(fast.runs, slow.runs, "ttft_s", "mean")
    assert paired.high < 0
    ours, theirs = (one.interval("ttft_s", "mean") for one in (fast, slow))
    assert ours is not None
    assert theirs is not None
    assert ours.high > theirs.low
    assert paired.high - paired.low < 0.2 * (theirs.high - theirs.low)
    with pytest.raises(InputError, match="got 6 and 5 runs"):
        difference(fast.runs, slow.runs[:5], "ttft_s", "mean")
    with pytest.raises(InputError, match="wanted tpot_s of every run"):
        difference(fast.runs, slow.runs, "tpot_s", "mean")
