"""Runs that asked gates, held against their replays: in order, in time, and told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adadecode.profiles import Profile
from adadecode.sim.measurements.runs import instrumented_runs, rounds_of
from adadecode.sim.validation.tiers import validate
from tests.support.gated import GATED, PLAIN, gated_profile


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return gated_profile(tmp_path_factory.mktemp("gates") / "p")


def test_structure_and_times_of_gated_runs_are_replayed(profile: Profile) -> None:
    """T0 is exact with the gates in order, T1 to rounding, and T2 sees the made-up runs."""
    found = validate(profile).to_dict()
    assert found["structure"] == {"runs": 16, "exact": 16, "explained": 0}
    assert found["replay_error"]["p90"] < 1e-12
    assert found["prediction_error"]["median"] < 0.01


def test_measured_rounds_keep_the_gates_that_were_asked(profile: Profile) -> None:
    rounds = rounds_of(profile)
    assert any(one.gates for one in rounds[GATED, 0])
    assert not any(one.gates for one in rounds[PLAIN, 0])
    assert rounds[GATED, 0] != rounds[PLAIN, 0]


def test_works_of_gates_are_kept_in_order(profile: Profile) -> None:
    """Each is followed by the check that it let through, or by more layers."""
    works = {cell: [kind for kind, _ in work] for cell, _, work in instrumented_runs(profile)}
    kinds = works[GATED, 0]
    follows = {kinds[at + 1] for at, kind in enumerate(kinds) if kind == "gate"}
    assert follows == {"check", "run"}
    assert "gate" not in works[PLAIN, 0]


def test_a_gate_asked_once_more_is_a_difference(profile: Profile) -> None:
    """Another depth in the list of one round is no longer the replay's structure."""
    rounds = profile.rounds.copy()
    at = next(place for place, asked in enumerate(rounds["gates_asked"]) if len(asked) > 1)
    rounds["gates_asked"] = [
        (*asked, asked[0]) if place == at else asked
        for place, asked in enumerate(rounds["gates_asked"])
    ]
    found = validate(replace(profile, rounds=rounds)).to_dict()
    assert found["structure"]["exact"] == 15


def test_a_score_at_its_threshold_explains_a_difference(profile: Profile, tmp_path: Path) -> None:
    """As a confidence at gamma does: rounding decides on which side it falls."""
    rounds = profile.rounds.copy()
    at = next(place for place, asked in enumerate(rounds["gates_asked"]) if len(asked) > 1)
    row = rounds.iloc[at]
    start = profile.prompts.set_index("prompt").loc[row["prompt"], "n_prompt"]
    output = int(row["start"] - start + 1)
    trace = profile.trace.copy()
    first = (
        (trace["prompt"] == row["prompt"])
        & (trace["output"] == output)
        & (trace["depth"] == row["placement"][0])
    )
    trace.loc[first, "gate"] = row["gates"][0] * (1 + 1e-9)
    rounds["gates_asked"] = [
        (*asked, asked[0]) if place == at else asked
        for place, asked in enumerate(rounds["gates_asked"])
    ]
    found = validate(replace(profile, rounds=rounds, trace=trace)).to_dict()
    assert found["structure"]["explained"] >= 1
