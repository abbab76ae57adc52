"""How a command fails: a missing extra, no room for what it prints, a signal to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest

from adadecode.sim.cli.errors import EXTRAS, exiting_on_error
from tests.support.paths import ROOT
from tests.support.sim_command import commands, run

MAIN = "from adadecode.sim.cli.app import main; main()"


def test_extras_are_those_of_the_package() -> None:
    """Each is declared, and installs something of what is named here."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra, packages in EXTRAS.items():
        assert set(packages) & {words.partition(">=")[0] for words in declared[extra]}


def test_a_missing_extra_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise ModuleNotFoundError(name="plotly.graph_objects")

    commands()  # the modules of commands are imported late, and patched here
    monkeypatch.setattr("adadecode.sim.cli.validate.read_profile", missing)
    assert run("validate", ".") == 2
    assert capsys.readouterr().err == (
        "error: plotly.graph_objects is not installed: pip install 'adadecode[report]'\n"
    )


def test_a_module_missing_by_mistake_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError), exiting_on_error():
        raise ModuleNotFoundError(name="adadecode.sim.typo")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
@pytest.mark.parametrize("words", [["devices"], ["devices", "--json"], ["--version"]])
def test_a_full_disk_behind_the_standard_output_is_one_sentence(words: list[str]) -> None:
    """Whether it fails while printing, or when the last of it is written out at the end."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == ("error: cannot write the output (No space left on device): make room\n")


def test_a_reader_that_goes_away_ends_a_command_in_silence() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_command_without_a_standard_output_ends_well() -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "{MAIN}" devices >&-'],  # noqa: S607 - any shell
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def heed_hang_ups() -> None:
    """Let a process be ended by a hang-up, even where the tests themselves are to outlive one."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_end_removes_what_is_half_written(tmp_path: Path, number: int) -> None:
    code = f"""
import os
from pathlib import Path
from adadecode.profiles.atomic_write import write_stream
from adadecode.sim.cli.errors import exiting_on_error

def write(part):
    part.write(b"half")
    os.kill(os.getpid(), {int(number)})
    part.write(b"half")

with exiting_on_error():
    write_stream(Path("page.html"), write)
"""
    (tmp_path / "page.html").write_text("older")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=heed_hang_ups,
    )
    assert done.returncode == 130
    assert done.stderr.startswith("interrupted: ")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "older"


def test_a_warning_is_one_line_without_its_place_in_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That of another kind, which is another project's, keeps its place."""
    with exiting_on_error():
        for category in (UserWarning, FutureWarning):
            sys.stderr.write(warnings.formatwarning("a word\x1b[2J", category, "f.py", 1, "code"))
    assert capsys.readouterr().err == (
        "warning: a word\\x1b[2J\nf.py:1: FutureWarning: a word\\x1b[2J\n  code\n"
    )
