"""The command line of a GPU run: wrong options are refused before any stage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.gpu_run import cli
from tests.support.gpu_run import gpu_run_command
from tests.support.held_folder import held_elsewhere
from tests.support.paths import ROOT


def test_the_command_starts_where_nothing_is_installed() -> None:
    """Before the stage setup there is only the standard library (``-S``)."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "scripts.gpu_run", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "--wheels" in done.stdout
    assert "A GPU run is a few calls of this command" in done.stdout


def test_a_plan_makes_no_folder(tmp_path: Path) -> None:
    done = gpu_run_command("--plan", "--work", tmp_path / "work")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith("call 1: --stage setup,device,")
    assert not (tmp_path / "work").exists()


def test_a_plan_holds_the_named_stages_and_needs_no_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["--plan", "--stage", "setup,demo"]) == 0
    _, call, estimate = capsys.readouterr().out.splitlines()
    assert call.startswith("call 1: --stage setup,demo --minutes ")
    assert estimate.startswith("  setup 15, demo ")


def test_an_unknown_device_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--device", "tpu"])
    assert "invalid choice: 'tpu'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "--stage", "setup,coffee"], "no stage coffee"),
        (["--stage", ""], "--stage names none"),
        (["--minutes", "-3"], "wanted --minutes as a number above 0, got -3"),
        (["--minutes", "nan"], "wanted --minutes"),
        (["--minutes", "12"], "wanted --minutes of at most 9.6, got 12"),
        (["--plan", "--budget", "0"], "wanted --budget as a number of minutes above 0, got 0"),
        (
            ["--plan", "--start-s", "-1"],
            "wanted --start-s as a number of seconds, 0 or more, got -1",
        ),
        (["--stage", "setup"], "wanted a folder in which everything is kept"),
        (
            ["--stage", "setup", "--work", "/dev/null/work"],
            "cannot make the folder /dev/null/work (Not a directory)",
        ),
        (
            ["--stage", "setup", "--work", "w", "--restore", "README.md"],
            "no gpu-run-*.zip in README.md",
        ),
        (["--stage", "setup", "--work", "w", "--source", "/no/such"], "/no/such is no profile"),
        (
            ["--stage", "setup", "--work", "w", "--wheels", "/no/such"],
            "--wheels names a folder of wheels",
        ),
    ],
)
def test_a_wrong_option_is_refused_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.out == ""


def test_without_the_stage_pack_it_says_that_nothing_was_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "run_stages", lambda *_, **__: {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    work, out = tmp_path / "work", tmp_path / "out"
    assert cli.main(["--stage", "setup", "--work", str(work), "--out", str(out)]) == 0
    assert "nothing was packed into" in capsys.readouterr().out
    assert not out.exists()


def test_a_second_call_with_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held_elsewhere(tmp_path / "work"):
        assert cli.main(["--work", str(tmp_path / "work"), "--stage", "setup", "--dry-run"]) == 2
    assert "another process is writing into" in capsys.readouterr().err
