"""The tiers: what counts as exact, explained or failing, and how errors are measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles import TABLES, Profile
from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.design import Design
from adadecode.sim.validation.result import Validation, spread
from adadecode.sim.validation.tiers import validate
from tests.support.handmade import recorded_profile
from tests.support.synthetic_profile import synthetic_profile

VANILLA, ADADECODE = "vanilla", "adadecode 2/4/6 gamma 0.75"
SLOWER = {VANILLA: 1.1, ADADECODE: 1.25}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("compare") / "profile", slower=SLOWER)


@pytest.fixture(scope="module")
def comparison(profile: Profile) -> Validation:
    return validate(profile)


def edited(profile: Profile, **tables: pd.DataFrame) -> Profile:
    """Return the profile with other tables, which no file could hold where they contradict."""
    return replace(profile, **tables)


def edit_round(rounds: pd.DataFrame, number: int, **values: Any) -> pd.DataFrame:
    """The rounds table with one round of AdaDecode on prompt 1 changed."""
    rows = rounds.to_dict("records")
    row = next(
        r
        for r in rows
        if (r["policy"], r["verify"], r["prompt"], r["round"]) == ("adadecode", True, 1, number)
    )
    row.update(values)
    return pd.DataFrame(rows, columns=TABLES["rounds"].names)


def test_a_recorded_replay_is_exact(comparison: Validation) -> None:
    """Two verified designs on three prompts."""
    assert comparison.to_dict()["structure"] == {"runs": 6, "exact": 6, "explained": 0}
    assert comparison.holds


def test_unverified_runs_that_left_the_text_are_left_out(comparison: Validation) -> None:
    """Nothing recorded can replay them; they appear in no tier, and are counted."""
    assert comparison.left_out == 3
    assert set(comparison.cells["design"]) == {VANILLA, ADADECODE}


def test_unverified_runs_that_kept_to_the_text_stay(tmp_path: Path) -> None:
    """A head that is never sure enough drafts nothing, so nothing is unverified."""
    design = Design.of("adadecode", gamma=0.9999, placement=(2,), verify=False)
    result = validate(
        recorded_profile(tmp_path / "profile", designs=[Design.of("vanilla"), design])
    )
    assert result.left_out == 0
    assert result.to_dict()["structure"]["runs"] == 6


@pytest.mark.parametrize(
    "values",
    [
        {"accepted": 9},
        {"start": 3},
        {"committed": 9},
        {"exits": (2, 2, 2, 2)},
        {"checks": (6,)},
        {"batches": (1,), "segments": (0,)},
    ],
)
def test_another_structure_fails(profile: Profile, values: dict[str, Any]) -> None:
    """A round that differs in any part is named, as it was measured and as it was replayed."""
    result = validate(edited(profile, rounds=edit_round(profile.rounds, 1, **values)))
    (failing,) = result.failing
    assert (failing["design"], failing["prompt"], failing["round"]) == (ADADECODE, 1, 1)
    assert failing["measured"] != failing["replayed"]
    assert not result.holds
    assert result.to_dict()["structure"] == {"runs": 6, "exact": 5, "explained": 0}


def test_a_missing_last_round_fails(profile: Profile) -> None:
    """A run that stopped short has no round to set beside the replay's."""
    rounds = profile.rounds
    ours = (rounds["policy"] == "adadecode") & rounds["verify"] & (rounds["prompt"] == 1)
    last = rounds[ours]["round"].max()
    (failing,) = validate(
        edited(profile, rounds=rounds[~(ours & (rounds["round"] == last))])
    ).failing
    assert (failing["round"], failing["measured"]) == (last, None)


def near_tie(tmp_path: Path, off: float) -> Validation:
    """Validate a recording in which a head's first confidence lay on the other side of gamma.

    Args:
        tmp_path: Where to write.
        off: How far from gamma the confidence lies, relative to it.
    """
    bare = synthetic_profile(tmp_path / "bare")
    confidence = bare.trace[
        (bare.trace["prompt"] == 1) & (bare.trace["output"] == 1) & (bare.trace["depth"] == 4)
    ]["confidence"].iloc[0]
    below, above = (
        Design.of("adadecode", gamma=confidence * factor, placement=(4,))
        for factor in (1 - off, 1 + off)
    )
    recorded = recorded_profile(tmp_path / "recorded", designs=[below])
    rounds, runs = (
        frame.assign(gammas=[above.gammas] * len(frame))
        for frame in (recorded.rounds, recorded.runs)
    )
    here = rounds["prompt"] == 1
    return validate(
        edited(
            recorded,
            rounds=rounds[here],
            runs=runs.iloc[:0],
            works=recorded.works.iloc[:0],
        )
    )


def test_a_near_tie_explains_another_structure(tmp_path: Path) -> None:
    """A confidence within 1e-5 of gamma may fall on either side; where it did is told."""
    result = near_tie(tmp_path, 1e-6)
    assert result.to_dict()["structure"] == {"runs": 1, "exact": 0, "explained": 1}
    (tie,) = result.explained
    assert (tie.prompt, tie.output) == (1, 1)
    assert math.isclose(tie.confidence, tie.gamma, rel_tol=1e-5)
    assert result.holds


def test_a_tie_that_is_not_near_explains_nothing(tmp_path: Path) -> None:
    """A difference of 1e-3 is not rounding."""
    result = near_tie(tmp_path, 1e-3)
    assert result.to_dict()["structure"] == {"runs": 1, "exact": 0, "explained": 0}
    assert not result.holds


def test_replayed_durations_are_held_against_the_measured_time(comparison: Validation) -> None:
    """The recorded works add up to the instrumented run's time."""
    assert comparison.to_dict()["replay_error"]["p90"] < 1e-12


def test_a_replay_error_is_relative_to_what_was_measured(profile: Profile) -> None:
    """With a fifth more work than time, the error is 0.2."""
    works = profile.works.assign(seconds=profile.works["seconds"] * 1.2)
    summary = validate(edited(profile, works=works)).to_dict()
    assert math.isclose(summary["replay_error"]["median"], 0.2)


def test_a_prediction_error_is_relative_to_the_median_of_repeats(comparison: Validation) -> None:
    """The error is 1/1.1 - 1 for vanilla, and 1/1.25 - 1 for AdaDecode.

    The repeats took 0.9, 1 and 1.3 times 1.1 (vanilla) and 1.25 (AdaDecode) of the prediction.
    """
    errors = comparison.cells.groupby("design")["prediction_error"]
    assert np.allclose(errors.min().sort_index(), [1 / 1.25 - 1, 1 / 1.1 - 1])
    assert np.allclose(errors.max().sort_index(), [1 / 1.25 - 1, 1 / 1.1 - 1])


def test_a_speedup_error_compares_speedups_on_the_same_prompt(comparison: Validation) -> None:
    """AdaDecode was 1.25 / 1.1 times slower, against vanilla, than predicted."""
    summary = comparison.to_dict()
    assert math.isclose(summary["speedup_error"]["median"], 1.25 / 1.1 - 1)


def test_repeats_are_held_against_each_other(comparison: Validation) -> None:
    """The even repeats at 0.9 and 1.3 have a median of 1.1, the odd one is at 1.

    Speedups do not differ, as all designs of a repeat were slower alike.
    """
    repeats = comparison.to_dict()["repeats"]
    assert math.isclose(repeats["time_difference"]["median"], 0.1)
    assert math.isclose(repeats["speedup_difference"]["median"], 0.0, abs_tol=1e-12)


def test_one_repeat_says_nothing_about_another(profile: Profile) -> None:
    """No difference, rather than none to speak of."""
    once = profile.runs[profile.runs["repeat"] == 0]
    document = validate(edited(profile, runs=once)).to_dict()
    assert document["repeats"]["time_difference"] == {"median": None, "p90": None}
    assert document["prediction_error"]["median"] is not None


def test_vanilla_has_no_speedup_error(comparison: Validation) -> None:
    """Its speedup over itself is always right, and would flatter the median."""
    cells = comparison.cells
    assert cells[cells["policy"] == "vanilla"]["speedup_error"].isna().all()
    assert cells[cells["policy"] != "vanilla"]["speedup_error"].notna().all()


def test_instrumented_runs_go_into_no_prediction_error(profile: Profile) -> None:
    """A hundred times slower with instruments changes nothing about the timed runs."""
    slow = profile.runs["decode_s"].where(
        ~profile.runs["instrumented"], profile.runs["decode_s"] * 100
    )
    summary = validate(edited(profile, runs=profile.runs.assign(decode_s=slow))).to_dict()
    assert summary["prediction_error"] == validate(profile).to_dict()["prediction_error"]


def test_a_spread_is_of_magnitudes() -> None:
    """-0.3 counts as 0.3, and what is missing not at all."""
    assert spread(pd.Series([-0.3, 0.1, 0.2, float("nan")])) == {
        "median": 0.2,
        "p90": pytest.approx(0.28),
    }


def test_a_spread_of_nothing_is_null() -> None:
    """It is never 0."""
    assert spread(pd.Series([float("nan")])) == {"median": None, "p90": None}


def test_the_summary_is_json(comparison: Validation) -> None:
    """The four promised keys, each of its form, and a row for each design."""
    document = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert list(document)[:4] == ["structure", "replay_error", "prediction_error", "speedup_error"]
    assert [set(document[key]) for key in list(document)[:4]] == [
        {"runs", "exact", "explained"},
        *[{"median", "p90"}] * 3,
    ]
    assert [row["design"] for row in document["designs"]] == [VANILLA, ADADECODE]
    assert document["designs"][0]["speedup_error"] is None


def test_designs_have_speedups_over_all_prompts(comparison: Validation) -> None:
    """Measured and predicted speedup differ as the times do."""
    row = comparison.to_dict()["designs"][1]
    assert math.isclose(row["predicted_speedup"] / row["measured_speedup"], 1.25 / 1.1)


def test_timed_runs_alone_can_be_compared(profile: Profile) -> None:
    """No rounds, no works: nothing to say of structure and replay, and no error."""
    runs = profile.runs[~profile.runs["instrumented"]]
    summary = validate(
        edited(
            profile,
            runs=runs,
            rounds=profile.rounds.iloc[:0],
            works=profile.works.iloc[:0],
        )
    ).to_dict()
    assert summary["structure"] == {"runs": 0, "exact": 0, "explained": 0}
    assert summary["replay_error"] == {"median": None, "p90": None}
    assert summary["prediction_error"]["median"] > 0


def test_a_profile_without_runs_is_refused(tmp_path: Path) -> None:
    """There is nothing to compare with."""
    with pytest.raises(ProfileError, match="no measured runs"):
        validate(synthetic_profile(tmp_path / "profile"))


def test_an_instrumented_run_without_works_is_refused(profile: Profile) -> None:
    """Its durations were lost."""
    with pytest.raises(
        ProfileError, match="no works of the instrumented run 0 of vanilla on prompt 0"
    ):
        validate(
            edited(
                profile,
                works=profile.works[profile.works["policy"] != "vanilla"],
            )
        )


def test_missing_rounds_are_refused(profile: Profile) -> None:
    """A gap in the middle is damage, not a difference."""
    with pytest.raises(ProfileError, match="wanted rounds"):
        validate(edited(profile, rounds=profile.rounds[profile.rounds["round"] != 1]))


def without_a_work(works: pd.DataFrame) -> pd.DataFrame:
    """The works table without the third piece of work of AdaDecode on prompt 1."""
    gone = (
        (works["policy"] == "adadecode")
        & works["verify"]
        & (works["prompt"] == 1)
        & (works["index"] == 2)
    )
    return works[~gone]


def test_works_that_do_not_fit_an_exact_structure_are_refused(profile: Profile) -> None:
    """The rounds say what was done; durations of something else are damage."""
    with pytest.raises(ProfileError, match="of an instrumented run"):
        validate(edited(profile, works=without_a_work(profile.works)))


def test_a_run_of_another_structure_has_no_replay_error(profile: Profile) -> None:
    """It cannot be replayed, which T0 has said; the other five runs can."""
    result = validate(
        edited(
            profile,
            rounds=edit_round(profile.rounds, 1, accepted=9),
            works=without_a_work(profile.works),
        )
    )
    assert result.cells["replay_error"].notna().sum() == 5
