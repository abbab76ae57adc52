"""The measured runs of a profile as tables: speeds and fates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adadecode.profiles import Profile, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.report.profile import run_tables
from tests.support.handmade import recorded_profile


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("measured") / "p", slower={"vanilla": 1.5})


@pytest.fixture(scope="module")
def trace(profile: Profile) -> Trace:
    return Trace.from_profile(profile)


def test_all_text_comes_before_the_domains(trace: Trace) -> None:
    assert run_tables.domain_prompts(trace) == {"": (0, 1, 2), "arithmetic": (0, 2), "code": (1,)}


def test_a_single_domain_is_all_text(tmp_path: Path) -> None:
    one = Trace.from_profile(recorded_profile(tmp_path / "p", prompts=1))
    assert list(run_tables.domain_prompts(one)) == [run_tables.ALL]


def test_a_measured_speedup_is_the_median_of_ratios_in_turn(profile: Profile, trace: Trace) -> None:
    """Every repeat is slowed alike, so all ratios are 1.5 times what is predicted."""
    speeds = run_tables.speedups(profile, run_tables.domain_prompts(trace))
    row = speeds[
        (speeds["design"] == "adadecode 2/4/6 gamma 0.75") & (speeds["domain"] == "")
    ].iloc[0]
    predicted = Predictor.of(profile).predict(Design.of(gamma=0.75, placement=(2, 4, 6))).speedup
    assert row["speedup"] == pytest.approx(1.5 * predicted)
    assert row["low"] == pytest.approx(row["high"])
    assert (row["prompts"], row["repeats"]) == (3, 3)


def test_a_design_that_was_not_run_on_every_prompt_has_no_speedup_there(
    profile: Profile, trace: Trace
) -> None:
    runs = profile.runs
    part = replace(profile, runs=runs[(runs["prompt"] != 1) | (runs["policy"] == "vanilla")])
    speeds = run_tables.speedups(part, run_tables.domain_prompts(trace))
    assert set(speeds[speeds["policy"] == "adadecode"]["domain"]) == {"arithmetic"}


def test_fates_add_up_to_the_text(profile: Profile, trace: Trace) -> None:
    tokens = run_tables.fates(profile, run_tables.domain_prompts(trace))
    whole = tokens[(tokens["domain"] == "") & (tokens["design"] == "adadecode 2/4/6 gamma 0.75")]
    assert whole[["accepted", "last"]].to_numpy().sum() == sum(
        trace.n_output(prompt) - 1 for prompt in trace.prompts
    )
    assert whole["depth"].tolist() == [2, 4, 6, 8]
