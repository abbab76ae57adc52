"""``--regime`` of predict, sweep, account and limits, and what they say of energy."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import Profile
from adadecode.sim.sweep.store import read_sweep
from tests.support.paths import DEMO_PROFILE
from tests.support.recordings import on_a100
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile

DESIGN = ["--heads", "2,6", "--gamma", "0.75"]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("regime") / "graphs", graphs="cuda")


def test_a_prediction_says_its_regime_and_what_limits_work(
    graphs: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """As recorded, and with a host that starts every kernel."""
    plain = run_json(capsys, "predict", graphs.path, *DESIGN, "--json")
    eager = run_json(capsys, "predict", graphs.path, *DESIGN, "--regime", "eager", "--json")
    assert (plain["basis"], plain["regime"], plain["limited_by"]["layer"]) == (
        "measured",
        "graphs",
        "device",
    )
    assert (eager["basis"], eager["regime"], eager["limited_by"]["layer"]) == (
        "carried",
        "eager",
        "host",
    )
    assert eager["tpot_s_low"] > plain["tpot_s"]
    assert run("predict", graphs.path, *DESIGN, "--regime", "eager") == 0
    assert "launch regime eager: the host decides how long layers" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_datasheet_is_an_engines_unless_asked(
    graphs: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three regimes of an H100, the eager one slowest."""
    asked = ["predict", "datasheet", "--to", "h100-sxm", "--model", "llama-3.1-8b"]
    asked += ["--trace", graphs.path, "--map", "2:8,6:24", "--json"]
    default = run_json(capsys, *asked)
    times = {
        name: run_json(capsys, *asked, "--regime", name)["tpot_s"]
        for name in ("engine", "graphs", "eager")
    }
    assert default["regime"] == "engine"
    assert default["tpot_s"] == times["engine"] < times["graphs"] < times["eager"]


def test_limits_are_those_of_the_regime(
    graphs: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(capsys, "limits", graphs.path, *DESIGN, "--regime", "eager", "--json")
    assert (found["regime"], found["limited_by"]["layer"]) == ("eager", "host")
    plain = run_json(capsys, "limits", graphs.path, *DESIGN, "--json")
    assert found["vanilla_s"] > plain["vanilla_s"]
    assert found["batch"]["rows"] != plain["batch"]["rows"]


def test_a_sweep_keeps_regime_and_energy_of_each_device(
    graphs: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The interval of the energy over vanilla's holds it, and is narrower than the joules'."""
    out = tmp_path / "sweep"
    asked = ["sweep", graphs.path, "--devices", "a100-80gb-sxm,h100-sxm", "--regime", "eager"]
    assert run(*asked, "--out", out, "--max-heads", "1", "--gammas", "0.5,0.8") == 0
    assert "h100-sxm: launch regime eager" in " ".join(capsys.readouterr().out.split())
    done = read_sweep(out)
    assert {one["regime"] for one in done.about["devices"]} == {"eager"}
    for row in done.designs.to_dict("records"):
        assert row["energy_low"] < row["energy_j_per_token"] < row["energy_high"]
        assert row["energy_over_low"] <= row["energy_over_vanilla"] <= row["energy_over_high"]
        assert (
            row["energy_over_high"] / row["energy_over_low"]
            < row["energy_high"] / row["energy_low"]
        )


def test_an_account_gives_joules_over_vanillas(
    graphs: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the regime that was asked for."""
    asked = ["account", graphs.path, *DESIGN, "--to", "h100-sxm", "--regime", "eager"]
    energy = run_json(capsys, *asked, "--json")["energy"]
    assert (energy["regime"], energy["limited_by"]["layer"]) == ("eager", "host")
    ratio = energy["joules"]["middle"] / energy["vanilla_joules"]["middle"]
    assert energy["over_vanilla"]["middle"] == pytest.approx(ratio)
    assert run(*asked) == 0
    assert "energy over vanilla's:" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["predict", "limits", "account", "sweep"])
def test_a_cpu_has_no_other_regime_whichever_command_asks(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--out", tmp_path / "s"] if command == "sweep" else ["--heads", "3"]
    assert run(command, DEMO_PROFILE, *words, "--regime", "graphs") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is a CPU, which starts its work itself: there is no regime graphs on it" in said
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["predict", "PROFILE", "--regime", "fast"], "no launch regime 'fast': wanted one of"),
        (["account", "PROFILE", "--regime", "eager"], "name the device with --to"),
        (["predict", "ASSUMED", "--regime", "eager"], "are of no launch regime: leave --regime"),
    ],
)
def test_a_regime_that_cannot_be_is_refused(
    command: list[str],
    words: str,
    graphs: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"PROFILE": graphs.path, "ASSUMED": tmp_path / "assumed"}
    synthetic_profile(tmp_path / "assumed")
    assert run(*(places.get(part, part) for part in command)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
