"""What starting up loads, and what the list of commands says."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

import adadecode
from adadecode.sim.cli.app import Commands
from tests.support.paths import ROOT
from tests.support.sim_command import commands, run

HEAVY = ("pandas", "numba", "torch", "scipy", "pyarrow", "simpy", "plotly", "optuna")

UNNEEDED_TO_PREDICT = (
    "dask",
    "distributed",
    "jinja2",
    "numba",
    "optuna",
    "plotly",
    "scipy",
    "torch",
    "transformers",
)

PROGRAM = """
import json, sys
from adadecode.sim.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as exit_:
    code = exit_.code
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


def loaded_by(*words: str) -> set[str]:
    """Return the modules that a new process holds after a command."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, check=True, cwd=ROOT
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    return set(modules)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["devices", "--template"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    assert not set(HEAVY) & loaded_by(*words)


def test_predict_loads_only_what_it_needs() -> None:
    """It reads tables (pandas, pyarrow) and replays (simpy): nothing to search, draw or compile."""
    modules = loaded_by("predict", "profiles/recorded/demo-cpu", "--gamma", "0.75")
    assert {"pandas", "simpy"} <= modules
    assert not set(UNNEEDED_TO_PREDICT) & modules


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"adadecode-sim {adadecode.__version__}\n"


def test_no_words_at_all_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert "Usage:" in capsys.readouterr().out


def test_commands_are_listed_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert list(Commands.entries)[:4] == ["predict", "sweep", "report", "validate"]
    places = [shown.index(f"│ {name} ") for name in Commands.entries]
    assert places == sorted(places)


@pytest.mark.parametrize("name", Commands.entries)
def test_the_summary_of_a_command_is_the_first_line_of_its_help(name: str) -> None:
    function = commands().get(name)
    if function is None:  # a group of commands
        return
    lines = (inspect.getdoc(function) or "").splitlines()
    assert lines[0] == Commands.entries[name].summary


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("name", ["", *commands()])
def test_every_help_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert run(*name.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= int(width)
    assert "…" not in shown


def test_a_mistyped_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("swep") == 2
    assert "Did you mean 'sweep'?" in capsys.readouterr().err
