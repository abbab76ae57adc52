"""Ctrl-C, a full device and a second sweep: one line that says what is kept and how to go on."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import Profile
from adadecode.profiles.schema import MANIFEST
from adadecode.sim.cli.interruption import left_in, on_interrupt
from adadecode.sim.sweep import executor, runner
from adadecode.sim.sweep.store import read_sweep
from tests.support.failing_disk import Fault, failing_disk
from tests.support.held_folder import held_elsewhere
from tests.support.sim_command import commands, run
from tests.support.synthetic_profile import synthetic_profile

FEW = ("--gammas", "0.3,0.6", "--max-heads", "1", "--threads", "1")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("interrupted") / "p")


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def the_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the message, which is one line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("interrupted: ")
    return str(line)


# Where each command is interrupted, and the words that get it there.
WHERE = {
    "predict": ("adadecode.sim.cli.predict.read_latencies", ["P"]),
    "sweep": ("adadecode.sim.cli.sweep.read_latencies", ["P", "--out", "OUT"]),
    "serve": (
        "adadecode.sim.cli.serve.read_latencies",
        ["P", "--arrivals", "poisson:1,count=3,prompt=4,output=2", "--out", "OUT"],
    ),
    "plan": (
        "adadecode.sim.cli.plan.read_latencies",
        [
            *("P", "--slo", "ttft_p99=2s", "--out", "OUT"),
            *("--arrivals", "poisson:1,count=1,prompt=1,output=1"),
        ],
    ),
    "observe": (
        "adadecode.sim.cli.observe.send",
        ["x", "--arrivals", "poisson:1,count=1,prompt=1,output=1", "--out", "OUT"],
    ),
    "report": ("adadecode.sim.cli.report.read_profile", ["P", "--out", "OUT"]),
    "validate": ("adadecode.sim.cli.validate.read_profile", ["P"]),
    "limits": ("adadecode.sim.cli.limits.read_latencies", ["P"]),
    "account": ("adadecode.sim.cli.account.read_profile", ["P"]),
    "timeline": ("adadecode.sim.cli.timeline.read_profile", ["P", "--out", "OUT"]),
    "memory": ("adadecode.sim.cli.memory.fit", ["llama-2-7b", "--device", "l4"]),
    "transfer": ("adadecode.sim.cli.transfer.read_profile", ["P", "--to", "l4"]),
    "transfer-matrix": (
        "adadecode.sim.hardware.kernel_tables.library.KernelLibrary.of",
        ["P", "--models", "llama-2-7b"],
    ),
    "devices": ("adadecode.sim.cli.devices.print_devices", []),
    "models": ("adadecode.sim.cli.models.print_models", []),
    "import vidur": (
        "adadecode.sim.hardware.importers.vidur.import_vidur",
        ["x.csv", "--model", "llama-2-7b", "--device", "l4", "--out", "OUT"],
    ),
    "import aiconfigurator": (
        "adadecode.sim.hardware.kernel_tables.library.KernelLibrary.of",
        [
            *("--tables", "P", "--model", "llama-2-7b", "--system", "h100_sxm"),
            *("--backend", "vllm", "--out", "OUT"),
        ],
    ),
    "import llmservingsim": (
        "adadecode.sim.hardware.importers.llmservingsim.import_llmservingsim",
        ["P", "--out", "OUT"],
    ),
    "synthesize": ("adadecode.sim.cli.synthesize.describe_heads", ["--like", "P", "--out", "OUT"]),
    "share": ("adadecode.sim.cli.share.read_profile", ["P", "--out", "OUT"]),
    "acceptance": (
        "adadecode.sim.cli.acceptance.describe_heads",
        ["--like", "P", "--speedup", "1.5"],
    ),
}


def test_every_command_is_tried() -> None:
    assert set(WHERE) == set(commands())


@pytest.mark.parametrize("name", WHERE)
def test_an_interrupted_command_says_so_in_one_line(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    target, words = WHERE[name]
    commands()  # the modules of commands are imported late, and patched here
    monkeypatch.setattr(target, interrupt)
    places = {"P": str(profile.path), "OUT": str(tmp_path / "out")}
    assert run(*name.split(), *(places.get(word, word) for word in words)) == 130
    assert "again" in the_line(capsys)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_sweep_keeps_its_parts_and_goes_on(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "PART", 2)
    evaluate, calls = executor.evaluate_part, iter(range(100))

    def interrupted_at_the_third(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(executor, "evaluate_part", interrupted_at_the_third)
    out = tmp_path / "s"
    assert run("sweep", profile.path, "--out", out, *FEW, "--json") == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("interrupted: the parts that are finished are kept in")
    assert str(out) in line
    monkeypatch.setattr(executor, "evaluate_part", evaluate)
    assert run("sweep", profile.path, "--out", out, *FEW, "--json") == 0
    resumed = json.loads(capsys.readouterr().out)
    assert run("sweep", profile.path, "--out", tmp_path / "t", *FEW, "--json") == 0
    at_once = json.loads(capsys.readouterr().out)
    assert resumed["best"] == at_once["best"]
    assert len(read_sweep(out).designs) == at_once["designs"]


def test_two_sweeps_into_one_directory_are_refused(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s"
    out.mkdir()
    with held_elsewhere(out):
        assert run("sweep", profile.path, "--out", out, *FEW) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "another process" in captured.err
    assert "Traceback" not in captured.err


def test_what_is_left_in_a_directory_is_named(tmp_path: Path) -> None:
    assert left_in(tmp_path / "none")().startswith("nothing was written")
    assert left_in(tmp_path)().startswith("nothing was written")
    (tmp_path / MANIFEST).touch()
    assert left_in(tmp_path)() == f"the profile in {tmp_path} is complete"


@pytest.mark.parametrize("option", ["--out", "--svg"])
def test_a_full_disk_is_a_message(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Whichever file it is that finds no room, the older ones are as they were."""
    places = {"--out": tmp_path / "t.json", "--svg": tmp_path / "t.svg"}
    for place in places.values():
        place.write_text("older")
    words = [word for pair in places.items() for word in pair]
    at = list(places).index(option)
    with failing_disk(tmp_path, Fault(at=at, step="write", outcome=errno.ENOSPC)):
        assert run("timeline", profile.path, *words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: cannot write {places[option]} (No space left")
    assert "Traceback" not in captured.err
    assert [place.read_text() for place in places.values()] == ["older", "older"]
    assert sorted(tmp_path.iterdir()) == sorted(places.values())


def test_the_inner_message_wins() -> None:
    def work() -> Iterator[None]:
        with on_interrupt("outer"), on_interrupt(lambda: "inner"):
            yield

    running = work()
    next(running)
    with pytest.raises(KeyboardInterrupt, match="inner"):
        running.throw(KeyboardInterrupt)
