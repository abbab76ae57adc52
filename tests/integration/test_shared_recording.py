"""A recording by two processes that share the model: one fails, both go on, and all is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import distributed
from typer.testing import CliRunner

from adadecode.engine.cli import errors
from adadecode.engine.cli.profile import app
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.profiling import execution_options
from adadecode.engine.profiling.execution_options import check_shared_heads
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.runtime import distributed as parallel
from adadecode.engine.runtime.distributed import command, decide_together, is_first, join
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.validation.tiers import validate
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.models import tiny_model
from tests.support.saved_model import options, refusal, saved_model

EVEN = 98  # tokens, so that two processes share the LM head

PROGRAM = """
from adadecode.engine.cli.entry_points import profile_main
from adadecode.engine.runtime.distributed import is_first
from adadecode.engine.profiling import recorder
from adadecode.engine.profiling.latency_visit import LatencyVisit
from adadecode.profiles.errors import InputError
import sys

recorder.VISITS = 1
if sys.argv[1] == "broken":
    take = LatencyVisit.take

    def broken(self, count):
        if self.number == 1 and not is_first():
            raise InputError("the second process has had enough")
        return take(self, count)

    LatencyVisit.take = broken
del sys.argv[1]
profile_main()
"""

needed = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("accelerate") is None, reason="needs accelerate: transformers shards with it"
    ),
    pytest.mark.skipif(
        not (distributed.is_available() and distributed.is_gloo_available()),
        reason="needs torch with gloo",
    ),
]


def launch(how: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run two processes under ``torchrun``."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--no-python",
    ]
    command = [*torchrun, sys.executable, "-c", PROGRAM, how, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=600
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"), torch.float64, EVEN)


@pytest.fixture(scope="module")
def failed(
    saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Where two processes began a recording that the second one broke off, and what they said."""
    out = tmp_path_factory.mktemp("shared") / "p"
    return out, launch("broken", [*options(saved, out), "--dtype", "float64"])


@pytest.fixture(scope="module")
def resumed(
    failed: tuple[Path, subprocess.CompletedProcess[str]],
) -> tuple[Profile, subprocess.CompletedProcess[str]]:
    """The same recording, gone on with, and what was said."""
    out, _ = failed
    done = launch("whole", ["--out", str(out), "--resume"])
    assert done.returncode == 0, done.stderr[-4000:]
    return read_profile(out), done


class TestTwoProcesses:
    """Launched twice: for a recording that fails, and to finish it."""

    pytestmark = needed

    def test_one_that_fails_says_so_and_ends_all(
        self, failed: tuple[Path, subprocess.CompletedProcess[str]]
    ) -> None:
        """What was finished is kept: the trace of both prompts, and the pieces before."""
        out, done = failed
        assert done.returncode != 0
        assert "error (process 1 of 2): the second process has had enough" in done.stderr
        assert "error: " not in done.stderr
        assert (out / "parts/1-trace-0001.done").exists()
        assert not (out / "manifest.json").exists()

    def test_only_the_first_speaks(
        self, resumed: tuple[Profile, subprocess.CompletedProcess[str]]
    ) -> None:
        _, done = resumed
        assert done.stdout.count("recorded in") == 1
        assert done.stderr.count("recording 3 designs") == 1

    def test_what_is_recorded_is_what_one_process_records(
        self, saved: Path, resumed: tuple[Profile, subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        """Every head's tokens and confidences, every round; not the times."""
        profile, _ = resumed
        assert (
            CliRunner()
            .invoke(app, [*options(saved, tmp_path / "p"), "--dtype", "float64"])
            .exit_code
            == 0
        )
        alone = read_profile(tmp_path / "p")
        for name in ("prompts", "trace", "branches", "rounds"):
            one, other = (
                getattr(each, name).drop(columns="sha256", errors="ignore")  # salted by recording
                for each in (profile, alone)
            )
            pd.testing.assert_frame_equal(one, other, rtol=1e-6)
        assert len(profile.latency) == len(alone.latency)

    def test_its_own_replay_is_exact(
        self, resumed: tuple[Profile, subprocess.CompletedProcess[str]]
    ) -> None:
        profile, _ = resumed
        found = validate(profile)
        assert found.holds
        assert found.cells["exact"].all()

    def test_the_manifest_tells_who_recorded(
        self, resumed: tuple[Profile, subprocess.CompletedProcess[str]]
    ) -> None:
        profile, _ = resumed
        assert profile.manifest["hardware"]["placing"] == {"processes": 2}
        assert profile.manifest["settings"]["processes"] == 2
        assert any(
            "2 processes share the model" in limitation
            for limitation in profile.manifest["limitations"]
        )
        assert profile.manifest["conditions"]["session"][-1] == 1


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that there is another process."""
    monkeypatch.setattr(execution_options, "processes", lambda: 2)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "change",
    [
        ["--baselines", "all"],
        ["--graphs", "compile"],
        ["--weights", "int8"],
        ["--device-map", "auto"],
    ],
)
def test_what_processes_cannot_share_is_refused(
    saved: Path, tmp_path: Path, change: list[str]
) -> None:
    message = refusal([*options(saved, tmp_path / "p"), *change])
    assert message.startswith(
        "2 processes share the model "
        "(torchrun --nproc-per-node N --no-python adadecode-profile ...)"
    )
    assert change[0] in message


@pytest.mark.usefixtures("shared")
def test_heads_of_another_form_are_not_shared() -> None:
    model = tiny_model("llama")
    check_shared_heads(ExitHeads.identity(model, (2,)))
    with pytest.raises(InputError, match="take full ones"):
        check_shared_heads(
            ExitHeads(model, {2: None}, form=HeadForm(shortlist=10), frequent=range(50))
        )


@pytest.mark.parametrize(("rank", "whose"), [("0", ""), ("1", " (process 1 of 2)")])
def test_an_error_names_the_process(
    rank: str, whose: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the others; the first is nobody in particular."""
    monkeypatch.setattr(errors, "LAST_WORD_S", 0.0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as ended, errors.plain_errors():
        raise InputError("no")
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error{whose}: no\n"


def test_processes_on_gpus_want_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """And do not leave them for the CPU."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="more processes than the 2 GPUs"):
        join("auto")
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES"):
        join("cpu")


def test_alone_every_answer_is_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single process exchanges nothing."""

    def nobody(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(distributed, "broadcast_object_list", nobody)
    assert is_first()
    assert decide_together(lambda: 5) == 5
    assert parallel.launched() == int(os.environ.get("WORLD_SIZE", "1"))


@pytest.mark.parametrize("error", [InputError("no such folder"), PermissionError("not yours")])
@pytest.mark.parametrize("first", [True, False])
def test_whatever_the_first_process_meets_ends_all(
    error: Exception, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises its own error; the others are told in words, and do not wait for ever."""
    message = (
        str(error)
        if isinstance(error, InputError)
        else "the first process failed: PermissionError: not yours"
    )
    sent: list[Any] = []

    def broadcast(box: list[Any], **_: Any) -> None:
        if first:
            sent.extend(box)
        else:
            box[1] = message

    def work() -> None:
        raise error

    monkeypatch.setattr(parallel, "processes", lambda: 2)
    monkeypatch.setattr(parallel, "is_first", lambda: first)
    monkeypatch.setattr(distributed, "broadcast_object_list", broadcast)
    with pytest.raises(type(error) if first else InputError) as raised:
        decide_together(work)
    assert str(raised.value) == (str(error) if first else message)
    assert sent == ([None, message] if first else [])


def test_a_stopped_recording_is_gone_on_with_as_it_was_launched(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs the number of processes that it began with."""
    assert command("adadecode-profile") == "adadecode-profile"
    monkeypatch.setattr(parallel, "processes", lambda: 2)
    assert (
        command("adadecode-profile") == "torchrun --nproc-per-node 2 --no-python adadecode-profile"
    )
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert command("adadecode-profile").startswith("torchrun --nproc-per-node 1 ")
    monkeypatch.undo()

    def stopping(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PieceStore, "write", stopping)
    monkeypatch.setattr(parallel, "command", lambda program: f"torchrun {program}")
    done = CliRunner().invoke(app, options(saved, tmp_path / "p"))
    assert done.exit_code == 130
    assert f"Go on with: torchrun adadecode-profile --out {tmp_path / 'p'} --resume" in done.output
