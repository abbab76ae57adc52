"""A recorded load gives its batches (T0) and its times (T1) again, and says where it cannot."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.schema import LOAD_TABLES
from adadecode.profiles.store import read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Verdict
from adadecode.sim.serving.batching.recorded_load import LoadRun, load_runs
from adadecode.sim.serving.load_validation.replay import replay_load
from adadecode.sim.serving.load_validation.simulate import StepAsked, simulate_load
from tests.support.paths import DEMO_PROFILE
from tests.support.toy_loads import toy_load, toy_pattern, with_loads

DESIGNS = [
    Design.of("vanilla"),
    Design.of("adadecode", gamma=0.3, placement=[1, 2]),
    Design.of("adadecode", gamma=0.2, placement=[2], gate=0.4),
    Design.of("fixed", placement=[2], cap=2),
]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.label)
@pytest.mark.parametrize("apart", [0, 3, 30], ids=["at once", "crowded", "idle between"])
def test_a_replay_has_the_batches_and_the_times(design: Design, apart: int) -> None:
    run = toy_load(toy_pattern(design, apart=apart))
    found = replay_load(run)
    assert (found.exact, found.why) == (len(run.steps), "")
    assert found.time_error is not None
    assert found.time_error < 1e-9
    assert apart == 30 or any(step.batch.preempted for step in run.steps)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.label)
def test_a_load_comes_back_from_the_tables_of_a_profile(design: Design) -> None:
    runs = [toy_load(toy_pattern(design, apart=apart)) for apart in (1, 5)]
    profile = with_loads(read_profile(DEMO_PROFILE), runs)
    found = load_runs(replace(profile, manifest={**profile.manifest, **_of_toys(runs[0])}))
    for one, two in zip(runs, found, strict=True):
        assert one.settings == two.settings
        assert one.requests == two.requests
        assert one.steps == two.steps
    assert set(LOAD_TABLES) <= set(vars(profile))


def _of_toys(run: LoadRun) -> dict[str, object]:
    return {"model": {"n_layers": run.n_layers}, "eos_token_ids": sorted(run.eos)}


def test_a_changed_step_is_named() -> None:
    run = toy_load(toy_pattern())
    at = next(
        number
        for number, step in enumerate(run.steps)
        if any(isinstance(told, Verdict) and told.accepted for _, told in step.outcomes)
    )
    step = run.steps[at]
    fewer = replace(step, batch=replace(step.batch, spans=step.batch.spans[:-1]))
    found = replay_load(_with_step(run, at, fewer))
    assert found.exact == at
    assert f"step {at} recorded spans" in found.why
    assert found.time_error is None


def test_an_outcome_of_another_kind_is_named() -> None:
    """As where a record was edited: a head's answer stands where the last layer was asked."""
    run = toy_load(toy_pattern(Design.of("vanilla")))
    at, (name, _) = next(
        (number, step.outcomes[0]) for number, step in enumerate(run.steps) if step.outcomes
    )
    found = replay_load(_with_step(run, at, replace(run.steps[at], outcomes=((name, None),))))
    assert "asks for an outcome that was not recorded" in found.why


def _with_step(run: LoadRun, at: int, step: object) -> LoadRun:
    return replace(run, steps=(*run.steps[:at], step, *run.steps[at + 1 :]))  # type: ignore[arg-type]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.label)
def test_a_simulated_load_writes_the_texts_of_the_run(design: Design) -> None:
    """Whatever steps cost, and so whoever runs with whom and is preempted."""
    run = toy_load(toy_pattern(design))
    for cost in (1e-5, 3e-4, 1e-2):
        found = simulate_load(run, partial(_cost_of_each, cost))
        for ours, theirs in zip(found, run.served, strict=True):
            assert len(ours.token_s) == theirs.request.n_output
            assert ours.scheduled_s >= theirs.request.arrival_s
            assert list(ours.token_s) == sorted(ours.token_s)


def _cost_of_each(cost: float, step: StepAsked) -> float:
    return cost * len(step.batch.spans)


def test_the_measured_costs_give_the_measured_load() -> None:
    """Steps that take what they took lead to the same batches where nobody waits for nothing."""
    run = toy_load(toy_pattern(apart=0))
    took = [
        later.begun_s - one.begun_s for one, later in zip(run.steps, run.steps[1:], strict=False)
    ]
    took.append(run.steps[-1].seconds)
    found = simulate_load(run, lambda step: took[step.batch.step])
    shift = run.steps[0].begun_s - run.served[0].request.arrival_s
    for ours, theirs in zip(found, run.served, strict=True):
        assert ours.scheduled_s + shift == pytest.approx(theirs.scheduled_s)
        assert ours.preemptions == theirs.preemptions


@pytest.mark.parametrize(
    ("table", "column", "value", "why"),
    [
        ("load_requests", "token_s", (), "do not rise"),
        ("load_work", "request", 99, "are not those of its steps"),
        ("load_steps", "arrived", (), "are not those of its steps"),
    ],
)
def test_contradictions_are_refused(table: str, column: str, value: object, why: str) -> None:
    profile = with_loads(read_profile(DEMO_PROFILE), [toy_load(toy_pattern())])
    frame = getattr(profile, table).copy()
    frame[column] = [value, *frame[column].tolist()[1:]]
    with pytest.raises(ProfileError, match=f"contradictions .*{why}.* record the load again"):
        load_runs(replace(profile, **{table: frame}))


@pytest.mark.parametrize("runs", [3, [{}], [{"design": {}}], ["vanilla"]])
def test_a_manifest_that_describes_no_runs_is_refused(runs: object) -> None:
    profile = read_profile(DEMO_PROFILE)
    manifest = {**profile.manifest, "load": {"runs": runs}}
    with pytest.raises(ProfileError, match="contradictions"):
        load_runs(replace(profile, manifest=manifest))
