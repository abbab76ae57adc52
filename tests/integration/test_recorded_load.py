"""The committed loads of the batched engine: the same batches (T0), and the same times (T1)."""

from __future__ import annotations

from functools import cache

import pytest

from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.serving.batching.recorded_load import LoadRun, load_runs
from adadecode.sim.serving.load_validation.held import hold_loads
from adadecode.sim.serving.load_validation.replay import replay_load
from tests.support.paths import ROOT

LOADED = ROOT / "profiles" / "recorded" / "demo-load-cpu"
RUNS = [(at_once, policy) for at_once in (8, 16, 32) for policy in ("vanilla", "adadecode")]


@cache
def profile() -> Profile:
    return read_profile(LOADED)


@cache
def runs() -> tuple[LoadRun, ...]:
    return load_runs(profile())


def test_it_holds_both_designs_at_each_number_of_texts() -> None:
    found = [(run.settings.max_num_seqs, str(run.settings.design.policy)) for run in runs()]
    assert found == RUNS


@pytest.mark.parametrize("number", range(len(RUNS)), ids=[f"{n} {policy}" for n, policy in RUNS])
def test_steps_and_times_follow_from_the_rules(number: int) -> None:
    """With as many texts at once as the engine takes, at some time."""
    run = runs()[number]
    found = replay_load(run)
    assert (found.exact, found.why) == (len(run.steps), "")
    assert found.time_error is not None
    assert found.time_error <= 1e-3
    running = most = 0
    for step in run.steps:
        running += len(step.batch.admitted)
        most = max(most, running)
        running -= len(step.ended) + len(step.batch.preempted)
    assert most == run.settings.max_num_seqs


def test_each_engine_is_held_against_its_simulation() -> None:
    held = hold_loads(profile())
    assert [one.exact for one in held] == [True] * len(RUNS)
    assert {time for one in held for time in one.errors} >= {"ttft_s", "tpot_s", "e2e_s"}
