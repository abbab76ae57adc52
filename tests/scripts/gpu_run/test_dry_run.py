"""A whole dry run on a CPU: one shape is recorded, validated, packed and restored."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import read_profile
from adadecode.sim.validation.tiers import validate
from scripts.gpu_run import archive, cli, runner, summary, validation, vanilla_speed
from scripts.gpu_run.state import PAPER_RATES, GpuRun, read_result
from tests.support.gpu_run import gpu_run, gpu_run_command

MANY_MINUTES = "9"


def result(folder: Path, stage: str) -> dict[str, Any]:
    return read_result(folder / "work", stage)["result"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set up, record one shape, validate and pack it, with all stages in this process."""
    folder = tmp_path_factory.mktemp("run")

    def in_this_process(run: GpuRun, stage: str, *_: object) -> dict[str, Any]:
        runner.run_stage(run, stage)
        return read_result(run.work, stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "run_stage_process", in_this_process)
        run = gpu_run(folder / "work", out=folder / "out", seconds=600.0)
        states = runner.run_stages(run, ["setup", "device", "paper", "validate", "pack"], [])
    assert set(states.values()) == {"done"}, read_result(run.work, "paper")
    return folder


def test_a_shape_is_recorded_with_scripted_decisions(finished: Path) -> None:
    """The profile is whole, the simulator finds its structure, and it says that it is scripted."""
    profile = read_profile(finished / "work/profiles/llama-8b")
    assert profile.manifest["scripted"]["synthetic"]
    assert profile.manifest["scripted"]["digest"] == read_profile(PAPER_RATES).manifest["digest"]
    assert validate(profile).cells["exact"].all()
    assert result(finished, "paper")["designs"][0]["policy"] == "vanilla"


def test_vanilla_is_given_as_a_share_of_the_ceiling(finished: Path) -> None:
    recording = result(finished, "validate")["llama-8b"]
    assert recording["holds"]
    assert recording["structure"]["exact"] == recording["structure"]["runs"] > 0
    assert recording["ceiling_tokens_per_s"] > 0
    assert recording["share_of_ceiling"] == pytest.approx(
        recording["speeds"][0]["tokens_per_s"] / recording["ceiling_tokens_per_s"]
    )


def test_speedups_are_given_by_domain_with_the_rates_of_the_runs(finished: Path) -> None:
    """The rates follow from the recorded rounds: drafts of tests, and drafts that were dropped."""
    (rows,) = result(finished, "validate")["llama-8b"]["domains"].values()
    profile = read_profile(finished / "work/profiles/llama-8b")
    rounds = profile.rounds[profile.rounds["policy"] == "adadecode"]
    drafts = rounds["exits"].map(len).sum()
    tested = rounds["checks"].map(lambda depths: sum(depth == 1 for depth in depths)).sum()
    assert [row["design"] for row in rows] == ["vanilla", "adadecode 1/2/3 gamma 0.5"]
    assert rows[1]["early_rate"] == pytest.approx(drafts / tested)
    assert rows[1]["reject_rate"] == pytest.approx(1 - rounds["accepted"].sum() / drafts)
    assert rows[0]["measured_speedup"] == rows[0]["predicted_speedup"] == 1.0


def test_vanilla_is_timed_in_every_mode(finished: Path, tmp_path: Path) -> None:
    """In FP32 they write the same text; the share of the ceiling is of what a token reads."""
    shutil.copytree(finished / "work/results", tmp_path / "results")
    found = vanilla_speed.graphs(gpu_run(tmp_path))
    assert list(found["modes"]) == list(vanilla_speed.DRY_MODES)
    assert found["best"] in found["modes"]
    assert set(found["modes"]["static"]["events"]) == {
        "timing",
        "plain_s",
        "timed_s",
        "ratio",
        "quartiles",
    }
    for measured in found["modes"].values():
        assert measured["as_eager"] == found["tokens"]
        assert measured["share_of_ceiling"] == pytest.approx(
            measured["tokens_per_s"] * found["read_bytes_per_token"] / found["read_bytes_per_s"]
        )


def test_the_summary_says_that_decisions_are_scripted(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary.print_summary(gpu_run(finished / "work"))
    printed = " ".join(capsys.readouterr().out.split())
    for words in (
        "T0 2 of 2",
        "scripted: decisions of synthetic trace",
        "heads full",
        "adadecode 1/2/3 gamma 0.5",
    ):
        assert words in printed


def test_a_valid_recording_is_not_validated_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is validated again once it was recorded anew."""
    shutil.copytree(finished / "work", tmp_path / "work")
    run = gpu_run(tmp_path / "work")
    monkeypatch.setattr(validation, "validate_recording", lambda *_: {"holds": False})
    assert validation.validate(run)["llama-8b"]["holds"]
    known = tmp_path / "work/results/validated/llama-8b.json"
    known.write_text(json.dumps({**json.loads(known.read_text()), "digest": "another"}))
    with pytest.raises(validation.StageFailure, match="takes other rounds"):
        validation.validate(run)


def test_everything_is_packed_into_few_files_of_bounded_size(finished: Path) -> None:
    files = sorted((finished / "out").iterdir())
    assert 1 <= len(files) <= 3
    assert all(file.stat().st_size <= archive.VOLUME_BYTES for file in files)
    packed = {name for file in files for name in zipfile.ZipFile(file).namelist()}
    assert packed >= {
        "profiles/llama-8b/manifest.json",
        "results/validate.json",
        "device.toml",
    }


def test_a_finished_stage_is_not_run_again_after_a_restore(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the zip files alone, as on a machine where nothing is left."""
    arguments = ["--dry-run", "--work", str(tmp_path / "work"), "--stage", "device,paper"]
    assert cli.main([*arguments, "--restore", str(finished / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == ["device: done before", "paper: done before"]


def test_a_failed_stage_stops_no_other(tmp_path: Path) -> None:
    """With a damaged source the shape fails, nothing can be validated, and both are packed.

    This is the one test in which stages run in processes of their own.
    """
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/manifest.json").write_text("{")
    arguments = ["--dry-run", "--work", tmp_path / "work", "--out", tmp_path / "out"]
    chosen = ["--stage", "paper,validate,pack", "--source", tmp_path / "damaged"]
    done = gpu_run_command(*arguments, *chosen, "--minutes", MANY_MINUTES)
    assert done.returncode == 1
    paper, validated, packed = (
        read_result(tmp_path / "work", stage) for stage in ("paper", "validate", "pack")
    )
    assert paper["state"] == "failed"
    assert "damaged" in paper["error"]
    assert "nothing was recorded yet" in validated["error"]
    assert "Traceback" in (tmp_path / "work/logs/paper.log").read_text()
    assert packed["state"] == "done"
    names = zipfile.ZipFile(tmp_path / "out/gpu-run-1.zip").namelist()
    assert "logs/paper.log" in names
