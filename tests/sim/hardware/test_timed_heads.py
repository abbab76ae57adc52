"""Heads in forms that were timed beside those that decoded: measured prices of what never ran."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.timed_heads import TimedHeads, timed_forms
from adadecode.sim.prediction.scenario import ScenarioOptions, find_scenario
from adadecode.sim.sweep.design_sweep import sweep
from adadecode.sim.sweep.space import Space
from tests.support.recordings import on_a100
from tests.support.synthetic_profile import synthetic_profile

INT8, SHORT = HeadForm(dtype="int8"), HeadForm(shortlist=8)
SECONDS = {"int8": 3e-4, "shortlist:8": 1e-4, "shortlist:64": 2e-4}


def with_forms(profile: Profile) -> Profile:
    """The profile with checks of three more forms: of depth d, d microseconds longer."""
    rows = [
        {"form": form, "depth": d, "reuse": d, "repeat": k, "seconds": seconds + 1e-6 * d}
        for form, seconds in SECONDS.items()
        for d in profile.depths
        for k in range(2)
    ]
    return replace(profile, head_forms=pd.DataFrame(rows))


def written(profile: Profile, folder: Path) -> Profile:
    """The same, written and read."""
    names = ("latency", "prompts", "trace", "branches", "runs", "rounds", "works", "head_forms")
    return write_profile(folder, profile.manifest, {name: getattr(profile, name) for name in names})


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    folder = tmp_path_factory.mktemp("timed")
    return written(with_forms(on_a100(folder / "a", prompts=4)), folder / "b")


def test_a_form_that_was_timed_is_priced_as_measured(profile: Profile) -> None:
    """Everything else takes what it takes with the heads that decoded."""
    scenario = find_scenario(profile, ScenarioOptions(form=SHORT))
    latencies = scenario.latencies
    assert latencies.basis == "measured"
    assert [latencies.middle.head(d, d) for d in (2, 4, 6)] == pytest.approx(
        [1e-4 + 1e-6 * d for d in (2, 4, 6)], rel=1e-12
    )
    own = profile.latency_table
    assert latencies.middle.verify(3) == own.verify(3)
    assert latencies.middle.layer(3, 2, 24, 4) == own.layer(3, 2, 24, 4)
    assert "heads shortlist:8: their checks were timed, heads full decoded" in scenario.notes
    assert find_scenario(profile).latencies.middle.head(4, 8) == own.head(4, 8)


@pytest.mark.parametrize(
    ("wanted", "stands"),
    [
        (HeadForm(shortlist=12), SHORT),
        (HeadForm(shortlist=60), HeadForm(shortlist=64)),
        (HeadForm(shortlist=8, dtype="int8"), INT8),
        (FULL, FULL),
    ],
)
def test_the_most_similar_form_stands_for_one_that_was_not_timed(
    profile: Profile, wanted: HeadForm, stands: HeadForm
) -> None:
    """The number format first, then the number of tokens."""
    origin = Provenance.of(profile)
    assert TimedHeads.of(profile, origin, wanted).form == stands
    assert timed_forms(profile, origin)[0] == FULL
    if wanted != stands:
        scenario = find_scenario(profile, ScenarioOptions(form=wanted))
        assert scenario.latencies.basis == "carried"
        assert any(
            f"heads {wanted.label}, which took {stands.label} ones' time" in note
            for note in scenario.notes
        )


def test_to_another_device_the_measured_time_of_the_form_is_carried(profile: Profile) -> None:
    """Twice the time measured is twice the time there."""
    slower = profile.head_forms.assign(seconds=2 * profile.head_forms["seconds"])
    short, long = (
        find_scenario(one, ScenarioOptions(form=INT8, device="h100-sxm")).latencies.middle
        for one in (profile, replace(profile, head_forms=slower))
    )
    assert long.head(4, 4) > 1.5 * short.head(4, 4)
    assert long.verify(1) == short.verify(1)


def test_a_machine_that_the_catalogue_does_not_know_need_not_be_named(tmp_path: Path) -> None:
    """Nothing is carried: a sweep finds the form by what was measured alone."""
    known = with_forms(synthetic_profile(tmp_path / "p", prompts=4))
    space = Space(gammas=(0.5,), max_heads=1, forms=(FULL, INT8, SHORT))
    rows = sweep(known, space, threads=1).designs
    assert set(rows[rows["policy"] == "adadecode"]["form"]) == {"full", "int8", "shortlist:8"}
    alone = rows[(rows["policy"] == "adadecode") & (rows["form"] != "shortlist:8")]
    by_form = alone.groupby("form", sort=True)["tpot_s"].min()
    assert by_form["int8"] != by_form["full"]


def test_what_was_not_timed_is_named(profile: Profile) -> None:
    with pytest.raises(ProfileError, match="record it with --head-forms"):
        profile.latencies_with_heads("shortlist:9")


@pytest.mark.parametrize(
    ("column", "value"), [("depth", 0), ("depth", 8), ("seconds", 0.0), ("reuse", -1)]
)
def test_absurd_times_of_forms_are_refused(
    profile: Profile, tmp_path: Path, column: str, value: float
) -> None:
    wrong = profile.head_forms.assign(**{column: value})
    with pytest.raises(ProfileError, match=f"as {column} in row 0 of table head_forms"):
        written(replace(profile, head_forms=wrong), tmp_path / "p")
