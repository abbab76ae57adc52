"""adadecode-sim limits, as a user calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.carried_latency import REACH
from adadecode.sim.hardware.latency_points import CORNERS
from adadecode.sim.limits.bandwidth import FACTORS
from adadecode.sim.limits.sensitivity import ASSUMPTIONS
from adadecode.sim.prediction.predictor import Predictor
from tests.support.recordings import imported, on_a100
from tests.support.scaled_latency import ScaledLatency
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile

DESIGN = ("--heads", "2,5", "--gamma", "0.8")
MAP = ("--map", "2:8,6:24")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits_cli")


@pytest.fixture(scope="module")
def profile(folder: Path) -> Profile:
    """Return a recording of an A100 with every head trained."""
    return on_a100(folder / "profile", prompts=4, depths=tuple(range(1, 8)))


@pytest.fixture(scope="module")
def predictor(profile: Profile) -> Predictor:
    return Predictor.of(profile)


@pytest.fixture(scope="module")
def document(profile: Profile) -> dict[str, Any]:
    """Return the limits of one design where it was recorded."""
    with pytest.MonkeyPatch.context() as patch:
        answers: list[dict[str, Any]] = []
        patch.setattr("adadecode.sim.cli.limits.print_json", answers.append)
        assert run("limits", profile.path, *DESIGN, "--json") == 0
    return answers[0]


def test_now_is_the_ordinary_prediction(document: dict[str, Any], predictor: Predictor) -> None:
    wanted = predictor.predict(Design.of(gamma=0.8, placement=(2, 5)))
    assert (document["design"], document["device"], document["basis"]) == (
        "adadecode 2/5 gamma 0.8",
        "a100-80gb-sxm",
        "measured",
    )
    assert (document["speedup"], document["tpot_s"]) == (
        pytest.approx(wanted.speedup),
        pytest.approx(wanted.tpot_s),
    )
    assert document["vanilla_s"] / document["tpot_s"] == pytest.approx(document["speedup"])
    assert document["batch"]["rows"][0]["together"] == pytest.approx(
        [wanted.speedup] * 2, rel=1e-12
    )


def test_heads_as_dear_as_it_says_do_not_pay(
    document: dict[str, Any], predictor: Predictor
) -> None:
    """The simulator prices them at the limit."""
    heads = next(one for one in document["cost"] if one["kind"] == "heads")
    assert (heads["pays"], heads["vanilla"], heads["low"]) == ("below", 0, None)
    dearer = Predictor(
        trace=predictor.trace,
        latency=ScaledLatency(table=predictor.latency, factors={"heads": heads["factor"]}),
    )
    assert dearer.predict(Design.of(gamma=0.8, placement=(2, 5))).speedup == pytest.approx(
        1.0, abs=1e-9
    )


def test_acceptance_is_given_by_the_trace_and_by_fitted_heads(document: dict[str, Any]) -> None:
    recorded, fitted = document["acceptance"]["recorded"], document["acceptance"]["fitted"]
    assert 0 < recorded["wrong"] < 1
    assert recorded["then"]["speedup"] == pytest.approx(1.0, abs=0.01)
    assert recorded["now"]["discarded"] < recorded["then"]["discarded"]
    assert fitted["depths"] == [2, 5]
    assert all(
        then < now
        for then, now in zip(fitted["needed_agreement"], fitted["agreement"], strict=True)
    )


def test_the_largest_known_batch_is_given(document: dict[str, Any]) -> None:
    """8 tokens were measured: with up to 6 for each user, two users are bounded from both sides."""
    batch = document["batch"]
    assert batch["largest_batch"] == 8
    assert [row["users"] for row in batch["rows"]] == [1, 2, 3, 4, 6, 8]
    assert batch["rows"][1]["tokens"] == 12
    assert batch["rows"][1]["together"][0] < batch["rows"][1]["together"][1]
    assert any("passes over more than 8 tokens are not known" in note for note in batch["notes"])
    assert any(
        "nothing is told of more than 8 users" in note and "--to a100-80gb-sxm" in note
        for note in batch["notes"]
    )
    assert batch["pays_up_to"]["alone"] <= batch["pays_up_to"]["together"]


def test_a_recording_of_a_known_device_has_speedups_by_bandwidth(document: dict[str, Any]) -> None:
    """It is carried to devices like it; at its own bandwidth it is what was measured."""
    rows = document["bandwidth"]["rows"]
    assert [row["factor"] for row in rows] == list(FACTORS)
    assert rows[FACTORS.index(1.0)]["speedup"] == pytest.approx(document["speedup"], rel=1e-6)


def test_the_worst_prompt_is_named(document: dict[str, Any], predictor: Predictor) -> None:
    """Of the prompts, by the simulator one by one."""
    worst = document["worst"]
    each = {
        prompt: predictor.predict(Design.of(gamma=0.8, placement=(2, 5)), (prompt,)).speedup
        for prompt in predictor.trace.prompts
    }
    assert worst["prompt"] == min(each, key=lambda prompt: each[prompt])
    assert worst["speedup"] == pytest.approx(min(each.values()))
    assert worst["domain"] == predictor.trace.domain(worst["prompt"])
    assert worst["losing"] == sum(speedup < 1 for speedup in each.values())
    assert worst["discarded"] > worst["in_vain"] > 1


def test_every_assumption_is_in_the_tornado(document: dict[str, Any]) -> None:
    """The largest effect first; a measured device has no corners, and no gate is asked."""
    sensitivity = document["sensitivity"]
    assert {row["assumption"] for row in sensitivity["rows"]} == set(ASSUMPTIONS) - {"gates"}
    effects = [row["effect"] for row in sensitivity["rows"]]
    assert effects == sorted(effects, reverse=True)
    assert sensitivity["corners"] == {}


def test_the_answer_is_the_best_nearby(document: dict[str, Any], predictor: Predictor) -> None:
    """Two heads of seven at three thresholds: themselves, one of them, and a third."""
    answer = document["sensitivity"]["answer"]
    assert answer["designs"] == 3 * (1 + 2 + 5)
    assert answer["speedup"] >= document["speedup"]
    for turn in answer["unless"]:
        assert turn["best"] != answer["best"]
        assert turn["speedup"] > turn["before"]


def test_on_another_device_corners_give_intervals(
    profile: Profile, predictor: Predictor, capsys: pytest.CaptureFixture[str]
) -> None:
    """And batches reach as far as an efficiency is held."""
    document = run_json(
        capsys, "limits", profile.path, *DESIGN, "--to", "h100-sxm", "--change", "20%", "--json"
    )
    heads = next(one for one in document["cost"] if one["kind"] == "heads")
    assert heads["low"] < heads["factor"] < heads["high"]
    assert set(document["sensitivity"]["corners"]) == set(CORNERS) - {"middle"}
    assert document["sensitivity"]["change"] == 0.2
    assert document["batch"]["largest_batch"] == 8 * REACH
    assert document["batch"]["rows"][-1]["users"] == 64
    assert any(
        "up to 64, the efficiency at 8 is held" in note for note in document["batch"]["notes"]
    )


def test_a_machine_outside_the_catalogue_has_no_other_bandwidth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is given, and the rest of the answer."""
    document = run_json(
        capsys, "limits", synthetic_profile(tmp_path / "p").path, "--gamma", "0.6", "--json"
    )
    assert "say which device it was with --from" in document["bandwidth"]["unknown"]
    assert document["batch"]["rows"]
    assert document["worst"]["in_vain"] > 1


def test_a_datasheet_is_enough(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """The text is another model's, which a note mentions."""
    words = (
        "datasheet",
        "--to",
        "h200-sxm",
        "--model",
        "llama-3.1-8b",
        "--trace",
        profile.path,
        *MAP,
    )
    document = run_json(capsys, "limits", *words, "--json")
    assert (document["basis"], document["hypothetical"], document["batch"]["largest_batch"]) == (
        "datasheet",
        True,
        6 * 64,
    )
    assert any(row["speedup"] != document["speedup"] for row in document["bandwidth"]["rows"])


def test_operator_times_are_enough(
    profile: Profile, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Carried, with a text of another model."""
    document = run_json(
        capsys,
        "limits",
        imported(folder).path,
        "--trace",
        profile.path,
        "--to",
        "h100-sxm",
        *MAP,
        "--json",
    )
    assert (document["basis"], document["model"]) == ("carried", "llama-2-7b")
    assert document["batch"]["largest_batch"] == 8 * REACH


def test_some_domains_alone(
    profile: Profile, predictor: Predictor, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run_json(capsys, "limits", profile.path, *DESIGN, "--domain", "code", "--json")
    wanted = predictor.predict(Design.of(gamma=0.8, placement=(2, 5)), predictor.prompts(["code"]))
    assert (document["prompts"], document["speedup"]) == (2, pytest.approx(wanted.speedup))
    assert document["worst"]["domain"] == "code"


@pytest.mark.parametrize("policy", ["fixed", "oracle"])
def test_other_policies_have_limits_too(
    profile: Profile, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    """They ask for no confidence, so none of theirs is in vain."""
    document = run_json(
        capsys, "limits", profile.path, "--policy", policy, "--heads", "4", "--cap", "3", "--json"
    )
    assert document["worst"]["in_vain"] is None
    assert document["worst"]["discarded"] >= 1 / document["speedup"]


@pytest.mark.parametrize("extra", [(), ("--to", "h100-sxm")])
def test_the_tables_fit_a_narrow_terminal(
    profile: Profile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    extra: tuple[str, ...],
) -> None:
    """They fit 80 columns and answer every question."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run("limits", profile.path, *DESIGN, *extra) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for words in (
        "how expensive may each kind of work become",
        "how wrong may the heads be",
        "how many users at once",
        "another bandwidth",
        "how bad may it get",
        "what does the speedup depend on",
        "designs nearby the best is",
    ):
        assert words in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "vanilla"], "vanilla is what others are compared with"),
        (["--heads", ""], "wanted --heads as whole numbers separated by commas"),
        (["--heads", "2,9"], "no head at depth 9 (trained: 1, 2, 3, 4, 5, 6, 7)"),
        (["--gamma", "1"], "asks no head"),
        (["--change", "0%"], "wanted --change between 0% and 100%, both left out, got '0%'"),
        (["--change", "100%"], "wanted --change between 0% and 100%, both left out, got '100%'"),
        (["--change", "nan%"], "wanted --change as a percentage from 0% on"),
        (["--change", "0.1"], "type 10% for a share of 0.1"),
        (["--to", "h100-sxn"], "nearest"),
        (["--cap", "8"], "profile with --max-tokens 9, or take --cap 7"),
        (["--domain", "prose"], "no prompt of the domain 'prose'"),
        (["--map", "2:x"], "wanted --map as DEPTH:DEPTH"),
    ],
)
def test_what_has_no_limits_is_refused(
    profile: Profile, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """One message, exit code 2, nothing on stdout."""
    assert run("limits", profile.path, *arguments, "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
