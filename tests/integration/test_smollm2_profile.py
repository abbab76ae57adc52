"""The committed recording of SmolLM2: a model that others trained, and text of our own."""

from __future__ import annotations

import pytest

from adadecode.engine.demo import SMOLLM2
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.catalog.recorded import recorded_shape
from adadecode.profiles.input_file import read_json
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate
from tests.support.paths import ROOT

FOLDER = ROOT / "profiles" / "recorded" / "smollm2-cpu"

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="profiles/recorded/smollm2-cpu: run scripts/smollm2/record.sh"
)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return read_profile(FOLDER)


@pytest.fixture(scope="module")
def found(profile: Profile) -> Validation:
    return validate(profile)


def test_it_has_ten_designs_and_twelve_prompts_of_four_kinds(profile: Profile) -> None:
    assert len(profile.manifest["settings"]["designs"]) >= 11
    assert len(profile.prompts) >= 12
    assert set(profile.prompts["domain"]) == {"chat", "arithmetic", "code", "summary"}


def test_it_is_of_the_model_and_the_heads_that_are_shipped(profile: Profile) -> None:
    heads = read_json(SMOLLM2.heads / "heads.json")
    assert profile.manifest["heads"]["depths"] == heads["depths"]
    assert profile.manifest["heads"]["metrics"] == heads["metrics"]
    assert profile.manifest["model"]["name"] == "smollm2"
    assert profile.manifest["model"]["origin"]["packed_as"] == "q4_1"
    shape, known = recorded_shape(profile.manifest), find_model("smollm2")
    assert (shape.n_layers, shape.total_parameters) == (30, known.total_parameters)


def test_every_measured_round_is_replayed(found: Validation) -> None:
    """T0 exact; a head as confident as its gamma, to the last digits, explains any other."""
    assert found.holds
    structure = found.to_dict()["structure"]
    assert structure["exact"] + structure["explained"] == structure["runs"] >= 120


def test_measured_durations_add_up_to_run_times(found: Validation) -> None:
    """T1."""
    assert found.cells["replay_error"].abs().median() <= 0.01


def test_predictions_are_as_good_as_repeats_allow(found: Validation) -> None:
    """T2, beside what even and odd repeats of one run differ by."""
    for name, noise in (
        ("prediction_error", "time_difference"),
        ("speedup_error", "speedup_difference"),
    ):
        error = found.cells[name].abs().median()
        assert error <= max(0.05, found.cells[noise].abs().median())
