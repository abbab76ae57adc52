"""Sweeps that end where they should not: on a full disk, by a kill, beside another one."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.sweep import runner
from adadecode.sim.sweep.parts import PARTS
from adadecode.sim.sweep.plan import SweepPlan
from adadecode.sim.sweep.runner import Progress, run_sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import ABOUT as SWEEP_JSON
from adadecode.sim.sweep.store import PLAN, TABLE, Sweep
from tests.support.failing_disk import Fault, failing_disk, steps_of
from tests.support.held_folder import held_elsewhere
from tests.support.sweeps import ABOUT, run_at_once, sources_of
from tests.support.synthetic_profile import synthetic_profile

FINISHED = {SWEEP_JSON, TABLE}


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    profile = synthetic_profile(tmp_path_factory.mktemp("interrupted") / "p", depths=(2, 4, 6))
    trace = Predictor.of(profile).trace
    return Evaluator.of(CompiledReplay.of(trace), [measured_latencies(profile)], max_tokens=6)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PART", 4)


def interrupt(*_: int) -> None:
    raise KeyboardInterrupt


def sweep(
    evaluator: Evaluator, out: Path, trials: int = 0, progress: Progress | None = None
) -> Sweep:
    space = Space.among((2, 4, 6), 8, gammas=(0.1, 0.3, 0.5, 0.7), max_heads=1)
    plan = SweepPlan(
        space=space, objectives=("tpot",), sources=sources_of(evaluator), trials=trials
    )
    return run_sweep(plan, evaluator, run_at_once(evaluator.evaluate), out, ABOUT, progress)


def names_in(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} - {LOCK_FILE}


@pytest.mark.parametrize("trials", [0, 70])
def test_a_sweep_on_a_full_disk_goes_on_when_there_is_room(
    evaluator: Evaluator, tmp_path: Path, trials: int
) -> None:
    """Wherever the room ends, and however often."""
    if trials:
        pytest.importorskip("optuna")
    whole: list[Sweep] = []
    steps = steps_of(tmp_path, lambda: whole.append(sweep(evaluator, tmp_path / "whole", trials)))
    writing = [at for at, (kind, _) in enumerate(steps) if kind in {"write", "replace", "mkdir"}]
    for number, at in enumerate(writing[:: 1 if trials else 2]):
        out = tmp_path / str(number)
        try:
            with failing_disk(tmp_path, Fault(at=at, outcome=errno.ENOSPC)):
                sweep(evaluator, out, trials)
        except InputError as error:
            assert "make room" in str(error)  # noqa: PT017  the last steps may fail unnoticed
        done = sweep(evaluator, out, trials)
        assert names_in(out) == FINISHED
        if not trials:
            pd.testing.assert_frame_equal(done.designs, whole[0].designs)


def test_what_a_kill_left_beside_a_finished_sweep_is_removed(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    sweep(evaluator, tmp_path / "s")
    (tmp_path / "s" / PARTS).mkdir()
    (tmp_path / "s" / PARTS / "000000.parquet").touch()
    (tmp_path / "s" / PLAN).touch()
    sweep(evaluator, tmp_path / "s")
    assert names_in(tmp_path / "s") == FINISHED


def test_a_sweep_killed_at_its_very_begin_can_be_repeated(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    """Before its plan is there, and before its folder of parts is."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / f"{PLAN}.part").write_text("{")
    sweep(evaluator, tmp_path / "s")
    assert names_in(tmp_path / "s") == FINISHED


def test_parts_are_never_written_through_a_link(evaluator: Evaluator, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / f"{PLAN}.part").touch()
    (tmp_path / "s" / PARTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="name another directory"):
        sweep(evaluator, tmp_path / "s")
    (tmp_path / "s" / PARTS).unlink()
    with pytest.raises(KeyboardInterrupt):
        sweep(evaluator, tmp_path / "s", progress=interrupt)
    shutil.rmtree(tmp_path / "s" / PARTS)
    (tmp_path / "s" / PARTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="parts is a link"):
        sweep(evaluator, tmp_path / "s")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_second_sweep_into_one_directory_is_refused_at_once(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    with (
        held_elsewhere(tmp_path / "s"),
        pytest.raises(InputError, match="another process is writing into"),
    ):
        sweep(evaluator, tmp_path / "s")
