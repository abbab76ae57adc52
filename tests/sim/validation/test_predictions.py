"""The Python API of predictions: the figures of the command, with their intervals, as objects."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles.errors import DesignError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim import Design, PredictedDesign, ScenarioOptions, predict
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.validation.intervals import MeasuredMisses
from tests.support.recordings import on_a100
from tests.support.sim_command import run_json

DESIGNS = [
    Design.of(gamma=0.5, placement=(2, 6), cap=3),
    Design.of("fixed", placement=(4,), cap=3),
    Design.of("vanilla"),
]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("predictions") / "p", runs=True)


def test_a_predicted_design_is_the_commands_document(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures and the interval, under the same keys in the same order."""
    (ours,) = predict(profile, DESIGNS[0])
    command = run_json(
        capsys, "predict", profile.path, "--heads", "2,6", "--gamma", "0.5", "--cap", "3", "--json"
    )
    assert json.loads(json.dumps(ours.to_json())) == command
    assert list(ours.to_json()) == list(command)


def test_measured_latencies_have_the_interval_of_the_profiles_own_runs(profile: Profile) -> None:
    misses = MeasuredMisses.of(profile)
    assert misses.time is not None
    ours, _, vanilla = predict(profile, DESIGNS)
    assert ours.tpot_s_low == ours.tpot_s / (1 + misses.time)
    assert ours.tpot_s_high == ours.tpot_s * (1 + misses.time)
    assert (vanilla.speedup_low, vanilla.speedup, vanilla.speedup_high) == (1, 1, 1)


def test_carried_latencies_have_the_interval_of_the_device(profile: Profile) -> None:
    predictions = predict(profile, DESIGNS, options=ScenarioOptions(device="h100-sxm"))
    for one in predictions:
        assert (one.device, one.basis) == ("h100-sxm", "carried")
        assert one.tpot_s_low is not None
        assert one.tpot_s_high is not None
        assert one.tpot_s_low < one.tpot_s < one.tpot_s_high


def test_a_datasheet_needs_no_recorded_latencies(profile: Profile) -> None:
    options = ScenarioOptions(device="h200-sxm", model="llama-3.1-8b")
    (ours,) = predict(
        None, Design.of(placement=(8, 24)), trace=profile, heads_at={2: 8, 6: 24}, options=options
    )
    assert (ours.basis, ours.hypothetical) == ("datasheet", True)
    assert any("heads stand where they were not trained" in note for note in ours.notes)


def test_a_frame_has_a_row_for_each_design(profile: Profile) -> None:
    predictions = predict(profile, DESIGNS, domain="code")
    frame = predictions.to_frame()
    assert frame["design"].tolist() == [design.label for design in DESIGNS]
    assert frame["placement"].tolist() == [(2, 6), (4,), ()]
    assert frame["speedup"].tolist() == [one.speedup for one in predictions]
    assert {"tpot_s_low", "tpot_s_high", "speedup_low", "speedup_high", "basis"} <= set(frame)
    pd.testing.assert_frame_equal(predictions[0].to_frame(), frame.iloc[:1])


def test_predictions_are_a_sequence_that_cannot_be_changed(profile: Profile) -> None:
    predictions = predict(profile, DESIGNS)
    assert len(predictions) == 3
    assert isinstance(predictions[0], PredictedDesign)
    assert predictions[1:] == predictions.designs[1:]
    with pytest.raises(AttributeError):
        predictions[0].tpot_s = 1.0  # type: ignore[misc]


def test_the_figures_are_those_of_the_predictor(profile: Profile) -> None:
    expected = Predictor.of(profile).predict(DESIGNS[0])
    (ours,) = predict(profile, DESIGNS[0])
    assert ours.tpot_s == expected.tpot_s
    assert ours.speedup == expected.speedup


def test_no_design_is_refused(profile: Profile) -> None:
    with pytest.raises(DesignError, match="wanted one design or more to predict, got none"):
        predict(profile, [])


def test_a_domain_without_prompts_is_refused(profile: Profile) -> None:
    with pytest.raises(ProfileError, match="no prompt of the domain 'prose'"):
        predict(profile, DESIGNS, domain="prose")


def test_a_datasheet_without_a_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="holds no text to replay"):
        predict(None, DESIGNS)
