"""The one estimator of measured speed: in turn, the median over repeats, on all prompts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from adadecode.engine.profiling.summary import summarize
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.measurements.baselines import standings
from adadecode.sim.measurements.speed import TimedRuns, measured_speeds
from adadecode.sim.report.profile import run_tables
from adadecode.sim.validation.tiers import validate
from tests.support.handmade import recorded_profile
from tests.support.paths import DEMO_PROFILE
from tests.support.synthetic_profile import synthetic_profile

VANILLA, ADADECODE = "vanilla", "adadecode 2/4/6 gamma 0.75"
SLOW_REPEATS = {0: 1.0, 1: 3.0, 2: 1.0}
"""How much slower the machine was in each repeat, for all designs alike."""


def on_a_slow_machine(path: Path, profile: Profile) -> Profile:
    """Return the profile with a machine that was slow for a while, for every design alike."""
    factor = profile.runs["repeat"].map(SLOW_REPEATS)
    runs = profile.runs.assign(decode_s=profile.runs["decode_s"] * factor)
    return synthetic_profile(path, runs=runs, rounds=profile.rounds, works=profile.works)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    folder = tmp_path_factory.mktemp("speed")
    slower = {VANILLA: 1.1, ADADECODE: 1.25}
    return recorded_profile(
        folder / "p",
        slower=slower,
        designs=[Design.of("vanilla"), Design.of("adadecode", gamma=0.75, placement=(2, 4, 6))],
    )


def test_a_speedup_is_the_median_of_ratios_in_turn(profile: Profile, tmp_path: Path) -> None:
    """A slow repeat slows vanilla and the design alike, and changes no speedup."""
    quiet, slow = (
        {one.design.label: one for one in measured_speeds(recording)}
        for recording in (profile, on_a_slow_machine(tmp_path / "slow", profile))
    )
    assert slow[ADADECODE].speedup == pytest.approx(quiet[ADADECODE].speedup)
    assert slow[ADADECODE].speedup_low == pytest.approx(slow[ADADECODE].speedup_high)
    assert slow[VANILLA].speedup == 1
    assert slow[VANILLA].repeats == 3


def test_tpot_is_per_token_after_the_first_over_all_prompts(profile: Profile) -> None:
    runs = profile.runs[~profile.runs["instrumented"] & (profile.runs["policy"] == "vanilla")]
    by_repeat = runs.groupby("repeat")["decode_s"].sum()
    tokens = (profile.prompts["n_output"] - 1).sum()
    vanilla = next(one for one in measured_speeds(profile) if one.design.label == VANILLA)
    assert vanilla.tpot_s == pytest.approx((by_repeat / tokens).median())
    assert vanilla.prompts == len(profile.prompts)


def test_a_design_that_missed_a_prompt_has_no_speed(profile: Profile) -> None:
    """Its figure would be of other texts than vanilla's."""
    runs = TimedRuns.of(profile)
    design = next(one for one in runs.seconds if one.label == ADADECODE)
    missed = {**runs.seconds, design: {0: runs.seconds[design][0]}}
    labels = [one.design.label for one in TimedRuns(seconds=missed, tokens=runs.tokens).speeds()]
    assert labels == [VANILLA]


def test_without_vanilla_there_is_no_speedup(profile: Profile) -> None:
    runs = TimedRuns.of(profile)
    alone = {one: cells for one, cells in runs.seconds.items() if one.label == ADADECODE}
    (speed,) = TimedRuns(seconds=alone, tokens=runs.tokens).speeds()
    assert speed.tpot_s > 0
    assert math.isnan(speed.speedup)


@pytest.fixture(scope="module")
def demo() -> Profile:
    return read_profile(DEMO_PROFILE)


def test_every_page_gives_the_same_speedup(demo: Profile) -> None:
    """The validation, the summary of a recording and the report name the same best design."""
    speeds = {one.design.label: one for one in measured_speeds(demo)}
    validated = validate(demo).by_design().set_index("design")
    summary = summarize(demo).set_index("design")
    report = run_tables.speedups(demo, {run_tables.ALL: tuple(demo.prompts["prompt"])})
    report = report.set_index("design")
    for label, speed in speeds.items():
        for table in (validated, summary, report):
            assert table.loc[label, "speedup"] == speed.speedup
            assert table.loc[label, "tpot_s"] == speed.tpot_s
    best = max(speeds, key=lambda label: speeds[label].speedup)
    assert {table["speedup"].idxmax() for table in (validated, summary, report)} == {best}


def test_a_ratio_of_medians_has_a_name_of_its_own(demo: Profile) -> None:
    """``--json`` holds both, and the older keys as they were."""
    (best,) = [
        row
        for row in validate(demo).to_dict()["designs"]
        if row["design"] == "adadecode 3 gamma 0.5"
    ]
    assert best["measured_speedup"] == pytest.approx(1.278663096021398, rel=1e-12)
    assert best["speedup"] != best["measured_speedup"]
    assert best["speedup_low"] <= best["speedup"] <= best["speedup_high"]


def test_baselines_are_measured_in_the_same_way(profile: Profile, tmp_path: Path) -> None:
    """Where a baseline was recorded, designs have the same speedup beside it."""
    baselines = pd.DataFrame(
        [
            {
                "name": "generate",
                "prompt": prompt,
                "repeat": repeat,
                "n_tokens": count,
                "n_same": count,
                "exact": True,
                "n_first": 1,
                "prefill_s": 0.01,
                "decode_s": 0.1,
                "compile_s": 0.0,
                "energy_j": math.nan,
                "error": "",
            }
            for prompt, count in zip(
                profile.prompts["prompt"], profile.prompts["n_output"], strict=True
            )
            for repeat in range(3)
        ]
    )
    with_baselines = replace(profile, baselines=baselines)
    rows = standings(with_baselines, {"": tuple(profile.prompts["prompt"])}).set_index("name")
    for one in measured_speeds(profile):
        assert rows.loc[one.design.label, "over_vanilla"] == pytest.approx(one.speedup)
        assert rows.loc[one.design.label, "tpot_s"] == pytest.approx(one.tpot_s)
