"""The stage ``tests``: how pytest is run, and what its outcomes mean."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.gpu_run import gpu_tests, summary
from scripts.gpu_run.state import StageFailure
from tests.support.gpu_run import gpu_run
from tests.support.paths import ROOT

GPU_TEST = """
import pytest

@pytest.mark.gpu
@pytest.mark.skipif(True, reason="needs a CUDA device")
def test_graphs():
    pass

def test_without_gpu():
    raise AssertionError("not marked")
"""


def test_pytest_runs_the_marked_tests_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own process is started, and what it prints is kept."""
    file = tmp_path / "test_graphs.py"
    file.write_text(GPU_TEST)
    monkeypatch.setattr(gpu_tests, "FILES", (str(file),))
    found = gpu_tests.tests(gpu_run(tmp_path))
    assert found["ran"]
    assert (found["passed"], found["failed"], found["skipped"]) == (0, 0, 1)
    assert any("needs a CUDA device" in line for line in found["said"])


@pytest.mark.parametrize("file", gpu_tests.FILES)
def test_the_files_hold_gpu_tests(file: str) -> None:
    assert "pytest.mark.gpu" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        ("..\n=== 14 passed, 2 skipped, 30 deselected in 9.1s", (14, 0, 0, 2)),
        ("1 failed, 3 passed, 2 errors in 9.1s", (3, 1, 2, 0)),
        ("3 passed, 1 error in 9.1s", (3, 0, 1, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_outcomes_are_counted(output: str, wanted: tuple[int, ...]) -> None:
    assert tuple(gpu_tests.count_outcomes(output).values()) == wanted


@pytest.mark.parametrize(
    ("device", "code", "output", "error"),
    [
        ("cuda", 1, "1 failed, 3 passed in 2s", "1 tests failed"),
        ("cuda", 2, "2 errors in 1s", "2 broke off"),
        ("cuda", 0, "9 skipped in 1s", "none of the tests ran on the GPU"),
        ("cuda", 0, "9 passed in 1s", None),
        ("cpu", 0, "9 skipped in 1s", None),
    ],
)
def test_a_test_that_fails_fails_the_stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    code: int,
    output: str,
    error: str | None,
) -> None:
    done = subprocess.CompletedProcess([], code, output, "")
    monkeypatch.setattr(gpu_tests.subprocess, "run", lambda *_, **__: done)
    run = gpu_run(tmp_path, device=device)
    if error is None:
        assert gpu_tests.tests(run)["ran"]
        return
    with pytest.raises(StageFailure, match=error) as failure:
        gpu_tests.tests(run)
    assert failure.value.result["said"] == [output]


def test_without_pytest_the_stage_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_tests, "missing_packages", lambda _names: ["pytest", "hypothesis"])
    assert gpu_tests.tests(gpu_run(tmp_path)) == {
        "ran": False,
        "why": "pytest, hypothesis are missing: bring their wheels",
    }


def test_tests_that_take_too_long_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_tests, "LIMIT_S", 0.01)
    with pytest.raises(StageFailure, match="took more than 0 s") as failure:
        gpu_tests.tests(gpu_run(tmp_path))
    assert failure.value.result == {"ran": True, "said": []}


def test_a_summary_of_nothing_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary.print_summary(gpu_run(tmp_path))
    assert "stages" in capsys.readouterr().out
