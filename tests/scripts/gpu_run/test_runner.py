"""Running stages: what fails or runs out of time is written down, and stops nothing else."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from scripts.gpu_run import cli, runner, stages
from scripts.gpu_run.state import GpuRun, StageFailure, read_result, write_result
from tests.support.gpu_run import gpu_run


def replace_stage(patch: pytest.MonkeyPatch, name: str, function: Any) -> None:
    """Let a stage call this function, and expect it to take a second."""
    patch.setitem(stages.STAGES, name, stages.Stage(function=function, estimate=lambda: 1.0))


def test_a_stage_that_runs_out_of_time_is_interrupted_and_unfinished(tmp_path: Path) -> None:
    """A second is too short for a recording; the next call would try it again."""
    arguments = ["--dry-run", "--work", str(tmp_path)]
    known = runner.run_stage_process(gpu_run(tmp_path), "demo", arguments, 1.0)
    assert known["state"] == "unfinished"
    assert known["error"].endswith("what was finished is kept")


def test_an_interrupt_within_a_stage_leaves_it_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_run: GpuRun) -> dict[str, Any]:
        raise KeyboardInterrupt

    replace_stage(monkeypatch, "flips", interrupted)
    runner.run_stage(gpu_run(tmp_path), "flips")
    assert read_result(tmp_path, "flips")["state"] == "unfinished"


def test_without_time_left_only_packing_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The call reports that it is not done."""
    work, out = str(tmp_path / "work"), str(tmp_path / "out")
    arguments = ["--dry-run", "--work", work, "--out", out, "--minutes", "0.1"]
    assert cli.main([*arguments, "--stage", "demo,pack"]) == 1
    demo, pack = capsys.readouterr().out.splitlines()
    assert demo == "demo: too little time left in this call"
    assert pack.startswith("pack: done in ")
    assert read_result(tmp_path / "work", "pack")["state"] == "done"
    assert not (tmp_path / "work/profiles").exists()


def test_a_stage_that_could_only_load_its_model_is_not_started(tmp_path: Path) -> None:
    """Half of the estimate must be left, four fifths in the last call, a second in a dry run."""
    seconds = stages.STAGES["paper"].seconds
    run = gpu_run(tmp_path, dry=False)
    assert not runner.worth_starting(run, "paper", 0.25 * seconds)
    assert runner.worth_starting(run, "paper", 0.75 * seconds)
    assert not runner.worth_starting(run, "paper", 0.75 * seconds, last=True)
    assert runner.worth_starting(run, "paper", 0.85 * seconds, last=True)
    assert runner.worth_starting(gpu_run(tmp_path), "paper", seconds / 4, last=True)


def test_a_stage_that_found_something_wrong_fails_and_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_run: GpuRun) -> dict[str, Any]:
        raise StageFailure("not as it should be", {"holds": False})

    replace_stage(monkeypatch, "flips", failing)
    runner.run_stage(gpu_run(tmp_path), "flips")
    known = read_result(tmp_path, "flips")
    assert (known["state"], known["error"]) == ("failed", "not as it should be")
    assert known["result"] == {"holds": False}


def test_a_warning_about_an_exception_is_shown_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the stage's log; any other warning stands there alone."""

    def warning(_run: GpuRun) -> dict[str, Any]:
        warnings.warn("only so", stacklevel=1)
        try:
            json.loads("{")
        except ValueError:
            warnings.warn("it fell back", stacklevel=1)
        return {}

    replace_stage(monkeypatch, "flips", warning)
    warnings.simplefilter("default")
    runner.run_stage(gpu_run(tmp_path), "flips")
    printed = capsys.readouterr().err
    first, second = printed.index("only so"), printed.index("it fell back")
    assert first < second < printed.index("JSONDecodeError")
    assert printed.count("Traceback") == 1


@pytest.mark.parametrize(
    ("device", "known", "wanted"),
    [
        ("cpu", {}, "static"),
        ("cuda", {}, "cuda+compile"),
        ("cuda", {"state": "unfinished"}, "cuda"),
        ("cuda", {"state": "failed", "result": {"best": "eager"}}, "eager"),
        ("cuda", {"state": "done", "result": {"best": "cuda+compile"}}, "cuda+compile"),
    ],
)
def test_recordings_run_in_the_mode_that_the_stage_graphs_found_best(
    tmp_path: Path, device: str, known: dict[str, Any], wanted: str
) -> None:
    """A mode that failed to capture would use up the call."""
    if known:
        write_result(tmp_path, "graphs", known)
    assert gpu_run(tmp_path, device=device).graphs == wanted
