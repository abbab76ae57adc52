"""``adadecode-sim``: JSON for programs, tables for people, exit code 2 for bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles import Profile
from tests.support.handmade import promising, recorded_profile
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile


def first_repeat(profile: Profile) -> pd.DataFrame:
    """The runs of the first repeat alone."""
    return profile.runs[profile.runs["repeat"] == 0]


PROMPT_1 = ["--heads", "2,4,6", "--prompt", "1"]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("cli") / "profile"
    return promising(recorded_profile(path, slower={"vanilla": 1.1}))


def test_predict_tells_a_prediction(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """The document has the keys that the documentation lists."""
    document = run_json(
        capsys,
        "predict",
        profile.path,
        "--gamma",
        "0.7,0.9",
        "--heads",
        "2,6",
        "--cap",
        3,
        "--json",
    )
    assert {
        "tpot_s",
        "tokens_per_s",
        "speedup",
        "early_rate",
        "reject_rate",
        "tokens_per_round",
        "modelled_share",
        "ttft_s",
    } <= set(document)
    assert document["design"]["gammas"] == [0.7, 0.9]
    assert document["design"]["cap"] == 3


def test_predict_tells_the_error_of_what_is_modelled(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number where it was measured, null for an unverified design."""
    document = run_json(capsys, "predict", profile.path, "--gamma", "0.1", "--json")
    assert 0 < document["modelled_error"] < document["modelled_share"]
    assert (
        run_json(capsys, "predict", profile.path, "--no-verify", "--gamma", "0.2", "--json")[
            "modelled_error"
        ]
        is None
    )
    assert run("predict", profile.path, "--no-verify", "--gamma", "0.2") == 0
    assert "not measured" in capsys.readouterr().out


def test_predict_uses_all_trained_heads_by_default(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """The synthetic profile has three."""
    assert run_json(capsys, "predict", profile.path, "--json")["design"]["placement"] == [2, 4, 6]


def test_vanilla_needs_no_heads(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "predict", profile.path, "--policy", "vanilla", "--json")
    assert document["speedup"] == 1


def test_no_verify_is_part_of_the_design(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its texts differ from vanilla's."""
    document = run_json(capsys, "predict", profile.path, "--no-verify", "--gamma", "0.2", "--json")
    assert document["design"]["verify"] is False
    assert document["texts_differ"] == 3


def test_domains_choose_prompts(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """One domain or several may be chosen."""
    assert run_json(capsys, "predict", profile.path, "--domain", "code", "--json")["prompts"] == 1
    assert (
        run_json(
            capsys, "predict", profile.path, "--domain", "code", "--domain", "arithmetic", "--json"
        )["prompts"]
        == 3
    )


def test_predict_prints_a_table(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """The table shows the speedup."""
    assert run("predict", profile.path) == 0
    assert "speedup over vanilla" in capsys.readouterr().out


def test_validate_tells_the_tiers(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """Structure exact, time off by the tenth that vanilla was slower."""
    document = run_json(capsys, "validate", profile.path, "--json")
    assert document["structure"] == {"runs": 6, "exact": 6, "explained": 0}
    assert document["prediction_error"]["p90"] == pytest.approx(1 - 1 / 1.1)


def test_validate_tells_the_error_of_the_branch_model(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the one verified design that rejects, on two prompts; in the text too."""
    document = run_json(capsys, "validate", profile.path, "--json")["branch_model"]
    assert {
        "cells",
        "share",
        "seconds_error",
        "speedup_error",
        "discarded_error",
        "checks_error",
        "policies",
    } == set(document)
    assert (document["cells"], list(document["policies"])) == (2, ["adadecode"])
    assert document["seconds_error"]["p90"] >= document["seconds_error"]["median"] >= 0
    assert run("validate", profile.path) == 0
    assert f"{document['policies']['adadecode']['error_per_share']:.3f}" in capsys.readouterr().out


def test_validate_says_that_the_branch_model_was_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without branches there is no error of theirs."""
    profile = recorded_profile(tmp_path / "profile", branches=False)
    assert run_json(capsys, "validate", profile.path, "--json")["branch_model"]["cells"] == 0
    assert run("validate", profile.path) == 0
    out = capsys.readouterr().out
    assert "error of drawn branches: not measured" in out
    assert "error / share" not in out


def test_validate_explains_what_one_repeat_cannot_tell(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence is printed only where there is a single repeat."""
    once = synthetic_profile(
        tmp_path / "once",
        **{name: getattr(profile, name) for name in ("rounds", "works")},
        runs=first_repeat(profile),
    )
    assert run("validate", once.path) == 0
    assert "needs 2 repeats or more" in capsys.readouterr().out
    assert run("validate", profile.path) == 0
    assert "needs 2 repeats or more" not in capsys.readouterr().out


def test_a_report_on_one_repeat_gives_no_range(profile: Profile, tmp_path: Path) -> None:
    """No blank is left where it would stand."""
    pytest.importorskip("plotly")
    once = synthetic_profile(
        tmp_path / "once",
        **{name: getattr(profile, name) for name in ("rounds", "works")},
        runs=first_repeat(profile),
    )
    assert (
        run("report", once.path, "--out", tmp_path / "r.html", "--markdown", tmp_path / "r.md") == 0
    )
    text = (tmp_path / "r.md").read_text()
    assert re.search(r"gives? [0-9.]+\u00d7\.", text)
    assert "\u00d7 ." not in text


def test_validate_prints_tables(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables are of the tiers and of the designs."""
    assert run("validate", profile.path) == 0
    out = capsys.readouterr().out
    assert "6 of 6 exact" in out
    assert "adadecode 2/4/6" in out


@pytest.mark.parametrize(("limit", "code"), [("20%", 0), ("1%", 1)])
def test_validate_fails_over_a_limit(profile: Profile, limit: str, code: int) -> None:
    """The median error is 0.045: half the runs are exact, half are 9 % off."""
    assert run("validate", profile.path, "--fail-over", limit) == code


def test_timeline_writes_a_chrome_trace(profile: Profile, tmp_path: Path) -> None:
    """The trace has one process, with slices."""
    assert run("timeline", profile.path, *PROMPT_1, "--out", tmp_path / "t.json") == 0
    document = json.loads((tmp_path / "t.json").read_text())
    assert {record["pid"] for record in document["traceEvents"]} == {1}
    assert any(record["ph"] == "X" for record in document["traceEvents"])


def test_timeline_adds_the_measured_run(profile: Profile, tmp_path: Path) -> None:
    """A second process, a quarter longer, as it was recorded."""
    assert run("timeline", profile.path, *PROMPT_1, "--measured", "--out", tmp_path / "t.json") == 0
    slices = [
        r for r in json.loads((tmp_path / "t.json").read_text())["traceEvents"] if r["ph"] == "X"
    ]
    ends = [max(s["ts"] + s["dur"] for s in slices if s["pid"] == pid) for pid in (1, 2)]
    assert ends[1] / ends[0] == pytest.approx(1.25)


def test_timeline_draws_the_schedule(profile: Profile, tmp_path: Path) -> None:
    """As SVG, with the given number of rounds."""
    assert (
        run(
            "timeline",
            profile.path,
            *PROMPT_1,
            "--out",
            tmp_path / "t.json",
            "--svg",
            tmp_path / "t.svg",
            "--rounds",
            2,
        )
        == 0
    )
    svg = (tmp_path / "t.svg").read_text()
    assert svg.startswith("<svg")
    assert "round 2" in svg
    assert "round 3" not in svg


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gamma", "high"], "wanted --gamma as numbers separated by commas"),
        (["--gamma", ""], "wanted --gamma as numbers separated by commas, like 0.5,0.75, got ''"),
        (["--heads", ""], "wanted --heads as whole numbers separated by commas, like 4,8, got ''"),
        (["--gamma", "1.5"], "gamma is a probability"),
        (["--gamma", "nan"], "gamma is a probability"),
        (["--gamma", "0.5,0.6"], "wanted one gamma per head"),
        (["--heads", "2,x"], "wanted --heads as whole numbers separated by commas"),
        (["--heads", "3"], "no head at depth 3"),
        (["--heads", "4,2"], "a placement is a rising list"),
        (["--heads", "8"], "a head lies between the layers"),
        (["--cap", "0"], "the cap is at least 1"),
        (["--policy", "medusa"], "unknown policy 'medusa'"),
        (["--policy", "fixed"], "exactly one head"),
        (["--domain", "poetry"], "no prompt of the domain 'poetry'"),
    ],
)
def test_a_bad_design_is_refused(
    profile: Profile, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A message, exit code 2, nothing on stdout and no traceback."""
    assert run("predict", profile.path, *arguments, "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("command", ["predict", "validate", "timeline"])
def test_a_profile_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Every command refuses it."""
    assert (
        run(
            command,
            tmp_path / "nowhere",
            *(["--out", tmp_path / "t.json"] if command == "timeline" else []),
        )
        == 2
    )
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "99"], "no prompt 99"),
        (
            ["--measured", "--gamma", "0.123"],
            "no instrumented run of adadecode 2/4/6 gamma 0.123 on prompt 0",
        ),
        (["--out", "/nowhere/t.json"], "cannot write /nowhere/t.json"),
    ],
)
def test_a_timeline_that_cannot_be_is_refused(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """An unknown prompt, a run that was not instrumented, a file that cannot be written."""
    assert run("timeline", profile.path, "--out", tmp_path / "t.json", *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["predict"], ["fly"], ["predict", "x", "--cap", "many"], ["timeline", "x"]]
)
def test_a_command_line_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    """A missing argument, an unknown command, a cap that is no number, a timeline to nowhere."""
    assert run(*arguments) == 2
