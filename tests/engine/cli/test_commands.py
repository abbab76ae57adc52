"""What all commands of the engine have in common: early checks, Ctrl-C, versions and progress."""

from __future__ import annotations

import importlib
import io
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

import adadecode
from adadecode.engine.cli import entry_points
from adadecode.engine.demo import PROMPTS
from adadecode.profiles.errors import InputError
from adadecode.sim.cli import progress
from adadecode.sim.cli.progress import showing_stages
from tests.support.paths import DEMO_PROFILE, ROOT

Command = Callable[..., tuple[int, str, str]]
COMMANDS = ("profile", "train", "flips", "load", "device")
"""Of ``adadecode-...``."""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command with options: exit code, stdout, stderr."""

    def run(command: str, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"adadecode-{command}", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            getattr(entry_points, f"{command}_main")()
        return (int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be loaded, and nothing measured."""

    def loaded(*_: Any, **__: Any) -> None:
        pytest.fail("work began")

    monkeypatch.setattr("adadecode.engine.profiling.setup.load_model", loaded)
    monkeypatch.setattr("adadecode.engine.loading.model_loader.load_model", loaded)
    monkeypatch.setattr("adadecode.engine.demo.load_demo", loaded)
    monkeypatch.setattr("adadecode.engine.runtime.device_benchmark.measure", loaded)


class Refused(NamedTuple):
    """Options that a command refuses. OUT in them is a place that can be written."""

    command: str
    options: str
    message: str


TRAIN = f"--demo --prompts {PROMPTS} --out OUT/heads"
BAD_OPTIONS = [
    Refused("profile", "--demo --out OUT/p --gammas nan", "gamma is a probability in [0, 1]"),
    Refused("profile", "--demo --out OUT/p --branch-floor nan", "--branch-floor as a probability"),
    Refused("profile", "--demo --out OUT/p --temperature nan", "a temperature is a finite number"),
    Refused("profile", "--demo --out OUT/p --repeats 0", "--repeats of at least 1, got 0"),
    Refused("profile", "--demo --out OUT/p --threads 0", "--threads of at least 1, got 0"),
    Refused("profile", "--demo --out OUT/p --graphs vulkan", "--graphs as one of auto, eager"),
    Refused("profile", "--demo --out OUT/p --head-dtype int3", "--head-dtype as one of int8, own"),
    Refused("profile", "--out OUT/p", "name a model with --model"),
    Refused("train", f"{TRAIN} --lr nan", "a finite --lr above 0, got nan"),
    Refused("train", f"{TRAIN} --lr 0", "a finite --lr above 0, got 0"),
    Refused("train", f"{TRAIN} --held-out nan", "--held-out between 0 and 1"),
    Refused("train", f"{TRAIN} --held-out 1", "--held-out between 0 and 1"),
    Refused(
        "train",
        f"{TRAIN} --depths 0,4",
        "from 1 to 15, each once and in rising order, as this model has 16 layers, got [0, 4]",
    ),
    Refused("train", f"{TRAIN} --depths 16", "as this model has 16 layers, got [16]"),
    Refused("train", f"{TRAIN} --depths six", "--depths such as 4,8,12"),
    Refused("train", f"{TRAIN} --epochs -1", "--epochs of 0 or more, got -1"),
    Refused("train", f"{TRAIN} --batch-tokens 0", "--batch-tokens of at least 1, got 0"),
    Refused("train", f"{TRAIN} --seed -1", "a --seed of 0 or more, got -1"),
    Refused("train", f"{TRAIN} --shortlist 0", "a shortlist holds at least 1 token, got 0"),
    Refused("train", f"{TRAIN} --head-dtype int3", "--head-dtype as one of int8, own"),
    Refused("flips", "--demo --gammas 2", "gamma is a probability in [0, 1], got 2"),
    Refused("flips", "--demo --placements 99", "no head at depth 99: heads exist at [1, 2, 3,"),
    Refused("flips", "--demo --limit 0", "--limit of at least 1, got 0"),
    Refused("flips", "--demo --threads 0", "--threads of at least 1, got 0"),
    Refused("flips", "--demo --batches 1,x", "--batches as whole numbers"),
    Refused("flips", "--demo --graphs auto", "--graphs as one of eager, static"),
    Refused("flips", "--demo --numerics exact", "--numerics as one of native, canonical"),
    Refused("flips", "", "name a model with --model"),
    Refused("device", "--name d --out OUT/d.toml --bandwidth nan", "above 0 as the figure"),
    Refused("device", "--name d --out OUT/d.toml --peak-fp16 -1", "above 0 as the figure fp16"),
    Refused("device", "--name d --out OUT/d.toml --repeats 0", "--repeats of at least 1, got 0"),
    Refused("device", "--name d --out OUT/d.toml --matrix 33", "--matrix as multiples of 16"),
]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("refused", BAD_OPTIONS, ids=lambda one: f"{one.command} {one.message}")
def test_numbers_are_checked_before_work_begins(
    call: Command, tmp_path: Path, refused: Refused
) -> None:
    """One sentence, exit code 2, and nothing is created."""
    code, out, err = call(refused.command, *refused.options.replace("OUT", str(tmp_path)).split())
    assert (code, out) == (2, "")
    assert refused.message in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not list(tmp_path.iterdir())


OUTPUTS = {
    "profile": "--demo --out PLACE",
    "train": f"--demo --prompts {PROMPTS} --out PLACE",
    "flips": "--demo --out PLACE",
    "load": f"{DEMO_PROFILE} --arrivals poisson:1,count=1 --out PLACE",
    "device": "--name d --out PLACE.toml",
}


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_under_a_file_is_refused_before_work_begins(
    call: Command, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("theirs")
    place = tmp_path / "file" / "x"
    code, _, err = call(command, *OUTPUTS[command].replace("PLACE", str(place)).split())
    assert code == 2
    assert f"{tmp_path / 'file'} is a file" in err
    assert (tmp_path / "file").read_text() == "theirs"


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_on_a_full_disk_is_refused_before_work_begins(
    call: Command, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    code, _, err = call(command, *OUTPUTS[command].replace("PLACE", str(tmp_path / "x")).split())
    assert code == 2
    assert "is full: make room" in err


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("command", ["flips", "device"])
def test_a_file_in_a_folder_that_is_missing_is_refused_before_work_begins(
    call: Command, tmp_path: Path, command: str
) -> None:
    place = tmp_path / "no" / "x"
    code, _, err = call(command, *OUTPUTS[command].replace("PLACE", str(place)).split())
    assert code == 2
    assert f"the directory {tmp_path / 'no'} does not exist" in err


def options_of_text(command: str) -> list[str]:
    """Return the options of a command that take words, names, lists or paths."""
    app = importlib.import_module(f"adadecode.engine.cli.{command}").app
    function = app.registered_commands[0].callback
    numbers = {"int", "float", "bool", "int | None", "float | None", "bool | None"}
    return [
        one.option
        for one in function.parameters
        if getattr(one.kind, "__name__", str(one.kind)) not in numbers
        and one.option.startswith("--")
    ]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command in COMMANDS for option in options_of_text(command)],
)
def test_an_empty_text_is_refused_before_work_begins(
    call: Command, tmp_path: Path, command: str, option: str
) -> None:
    """It is no list and no name, nor as if the option were left out."""
    words = OUTPUTS[command].replace("PLACE", str(tmp_path / "x")).split()
    if option in words:
        at = words.index(option)
        del words[at : at + 2]
    code, out, err = call(command, *words, option, "")
    assert (code, out) == (2, "")
    assert option in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not list(tmp_path.iterdir())


def stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


STOPPED = {
    "profile": ("adadecode.engine.profiling.setup.load_model", "nothing was recorded yet"),
    "train": (
        "adadecode.engine.loading.model_loader.load_model",
        "the same command goes on where it stopped",
    ),
    "flips": ("adadecode.engine.loading.model_loader.load_model", "run the same command again"),
    "load": ("adadecode.engine.profiling.setup.load_model", "run the same command again"),
    "device": ("adadecode.engine.runtime.device_benchmark.measure", "run the same command again"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_tells_what_is_kept_and_how_to_go_on(
    call: Command, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes one line, and the exit code is 130."""
    work, sentence = STOPPED[command]
    monkeypatch.setattr(work, stop)
    small = ("--array-mib", "0.25", "--matrix", "32") if command == "device" else ()
    place = str(tmp_path / "x")
    code, _, err = call(command, *OUTPUTS[command].replace("PLACE", place).split(), *small)
    assert code == 130
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert sentence in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_version(call: Command, command: str) -> None:
    code, out, _ = call(command, "--version")
    assert (code, out) == (0, f"adadecode-{command} {adadecode.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described(call: Command, command: str) -> None:
    """Each description is a sentence that ends with a full stop."""
    module = importlib.import_module(f"adadecode.engine.cli.{command}")
    import typer

    for option in typer.main.get_command(module.app).params:
        if option.name not in ("help", "_version"):
            help_text = option.help.partition("\\[default")[0].strip()  # type: ignore[attr-defined]
            assert help_text.endswith("."), option.name
            assert help_text[0] == help_text[0].upper() or help_text.startswith("auto"), option.name
    assert call(command, "--help")[0] == 0


def test_every_installed_command_exists() -> None:
    """The modules and functions that pyproject.toml names."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for target in scripts.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def lines_of(steps: int, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """What is printed without a terminal where each of so many steps takes some seconds."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=200)
    with showing_stages(console) as show:
        for done in range(1, steps + 1):
            now += seconds
            show("recording", done, steps)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_without_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start, every half minute, and at the end."""
    assert lines_of(100, monkeypatch, seconds=1.0) == [
        "recording: 1 of 100 (1%)",
        "recording: 31 of 100 (31%), 1 min 9 s left",
        "recording: 61 of 100 (61%), 39 s left",
        "recording: 91 of 100 (91%), 9 s left",
        "recording: 100 of 100 (100%)",
    ]


def test_short_stages_have_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(lines_of(20, monkeypatch, seconds=0.1)) == 2


def test_a_report_that_cannot_be_written_is_still_printed(
    call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a disk that turns out to be full: the work is not lost."""

    def full(*_: Any) -> None:
        raise InputError("cannot write it: no space left on device")

    report = {"designs": [], "batches": []}
    monkeypatch.setattr("adadecode.engine.cli.flips._flip_report", lambda *_: report)
    monkeypatch.setattr("adadecode.engine.cli.flips.write_json", full)
    code, out, err = call("flips", "--demo", "--json", "--out", str(tmp_path / "report.json"))
    assert code == 2
    assert '"designs": []' in out
    assert "no space left on device" in err
