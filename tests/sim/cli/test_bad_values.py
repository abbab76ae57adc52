"""Every path to write to and every number is checked before work begins, in every command."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_args

import pytest
from typer.models import ArgumentInfo

from adadecode.sim.cli.options import output
from adadecode.sim.cli.options.checks import TextCheck
from adadecode.sim.cli.options.grouping import Parameter
from tests.support.sim_command import commands, parameters, run

NOWHERE = "no-such-profile"

# What each command needs besides the option that is tried. Nothing of it exists: a path that
# cannot be written and a number that makes no sense are refused before it is looked for.
NEEDED = {
    "predict": [NOWHERE],
    "sweep": [NOWHERE, "--out", "OUT"],
    "serve": [NOWHERE, "--arrivals", "poisson:1,count=3,prompt=4,output=2"],
    "plan": [NOWHERE, "--slo", "ttft_p99=2s", "--arrivals", "poisson:1,count=1,prompt=1,output=1"],
    "observe": [
        *(NOWHERE, "--arrivals", "poisson:1,count=1,prompt=1,output=1", "--out", "OUT"),
    ],
    "report": [NOWHERE, "--out", "OUT"],
    "validate": [NOWHERE],
    "limits": [NOWHERE],
    "account": [NOWHERE],
    "share": [NOWHERE, "--out", "OUT"],
    "timeline": [NOWHERE, "--out", "OUT"],
    "memory": ["llama-2-7b", "--device", "l4"],
    "transfer": [NOWHERE, "--to", "l4"],
    "transfer-matrix": [NOWHERE, "--models", "llama-2-7b"],
    "devices": [],
    "models": [],
    "import vidur": [f"{NOWHERE}.csv", "--model", "llama-2-7b", "--device", "l4", "--out", "OUT"],
    "import aiconfigurator": ["--model", "llama-2-7b", "--system", "l4", "--out", "OUT"],
    "import llmservingsim": [NOWHERE, "--out", "OUT"],
    "synthesize": ["--out", "OUT", "--like", NOWHERE],
    "acceptance": ["--speedup", "1.5", "--like", NOWHERE, "--head-cost", "0.5"],
}

WRITERS = (output.file, output.directory, output.new_directory)


def is_output(parameter: Parameter) -> bool:
    return any(check.function in WRITERS for check in parameter.checks)


def number_type(parameter: Parameter) -> type | None:
    """Return int or float where a parameter is a number, or several of them."""
    kinds = {parameter.kind, *get_args(parameter.kind)}
    kinds |= {inner for kind in kinds for inner in get_args(kind)}
    return float if float in kinds else int if int in kinds and bool not in kinds else None


def takes_text(parameter: Parameter) -> bool:
    """Return whether a parameter gets what is typed as it is, a list among others."""
    parsed = any(isinstance(check, TextCheck) for check in parameter.checks)
    kinds = {parameter.kind, *get_args(parameter.kind)}
    return parsed or str in kinds or list[str] in kinds


def arguments(name: str, option: str, value: str, tmp_path: Path) -> list[str]:
    """Return the words of a command with this value of an option, the last of its kind."""
    words = [str(tmp_path / "out" / "o") if word == "OUT" else word for word in NEEDED[name]]
    if option in words:
        at = words.index(option)
        del words[at : at + 2]
    return [*name.split(), *words, option, value]


OUTPUTS = [(name, one) for name, one in parameters() if is_output(one)]
TEXTS = [(name, one) for name, one in parameters() if takes_text(one)]
NUMBERS = [(name, one) for name, one in parameters() if number_type(one) is not None]


def test_every_command_is_tried() -> None:
    assert set(NEEDED) == set(commands())


def test_every_option_that_takes_a_path_to_write_is_checked() -> None:
    """A path is read where it is an argument, or the option says that it is a profile."""
    for name, parameter in parameters():
        kinds = {parameter.kind, *get_args(parameter.kind)}
        if Path in kinds and not is_output(parameter):
            read = isinstance(parameter.info, ArgumentInfo) or parameter.info.metavar == "PROFILE"
            assert read, (name, parameter.option)


@pytest.mark.parametrize(
    ("name", "parameter"), OUTPUTS, ids=[f"{name} {one.option}" for name, one in OUTPUTS]
)
def test_a_path_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, parameter: Parameter
) -> None:
    """An empty name, a path under a file, and a directory where a file is wanted."""
    (tmp_path / "file").touch()
    (tmp_path / "out").mkdir()
    wants_file = any(check.function is output.file for check in parameter.checks)
    bad = ["", str(tmp_path / "file" / "x")]
    bad += [str(tmp_path), str(tmp_path / "none" / "x")] if wants_file else [str(tmp_path / "file")]
    for value in bad:
        assert run(*arguments(name, parameter.option, value, tmp_path)) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert NOWHERE not in captured.err
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "parameter"), NUMBERS, ids=[f"{name} {one.option}" for name, one in NUMBERS]
)
def test_a_number_that_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, parameter: Parameter
) -> None:
    """Not a number, infinite, below any range: before a profile is looked for."""
    (tmp_path / "out").mkdir()
    option = parameter.option
    for value in ("nan", "-1", "inf", "-inf", "x"):
        assert run(*arguments(name, option, value, tmp_path)) == 2, value
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        assert NOWHERE not in captured.err, (value, captured.err)
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "parameter"), TEXTS, ids=[f"{name} {one.option}" for name, one in TEXTS]
)
def test_an_empty_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, parameter: Parameter
) -> None:
    """It is no list of heads, no name and no domain: a variable of a shell was empty."""
    (tmp_path / "out").mkdir()
    words = arguments(name, parameter.option, "", tmp_path)
    if isinstance(parameter.info, ArgumentInfo):
        words = ["" if word.startswith(NOWHERE) else word for word in words[:-2]]
        words = ["" if word == "llama-2-7b" and name == "memory" else word for word in words]
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "''" in captured.err or "empty" in captured.err
    assert NOWHERE not in captured.err


def test_defaults_pass_their_own_checks() -> None:
    for name, parameter in parameters():
        if parameter.default not in (inspect.Parameter.empty, None) and not any(
            isinstance(check, TextCheck) for check in parameter.checks
        ):
            assert parameter.value(parameter.default) == parameter.default, (name, parameter.option)
