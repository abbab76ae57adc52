"""The parts of an unfinished sweep: what was edited, or is another's, is evaluated again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adadecode.profiles.digest import sealed
from adadecode.profiles.errors import InputError, ProfileError
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.sweep import runner
from adadecode.sim.sweep.parts import PARTS, SweepParts
from adadecode.sim.sweep.plan import SweepPlan
from adadecode.sim.sweep.runner import run_sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import Sweep, read_sweep
from tests.support.sweeps import ABOUT, run_at_once, sources_of
from tests.support.synthetic_profile import synthetic_profile
from tests.support.tampering import parquet_bytes

PLANNED = 12
"""Designs of the plan, in three parts of 4."""


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    profile = synthetic_profile(tmp_path_factory.mktemp("parts") / "p", depths=(2, 4, 6))
    trace = Predictor.of(profile).trace
    return Evaluator.of(CompiledReplay.of(trace), [measured_latencies(profile)], max_tokens=6)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PART", 4)


def plan(evaluator: Evaluator, **settings) -> SweepPlan:
    space = Space.among((2, 4, 6), 8, gammas=(0.1, 0.3, 0.5, 0.7), max_heads=1)
    return SweepPlan(
        **{"space": space, "objectives": ("tpot",), "sources": sources_of(evaluator), **settings}
    )


def interrupted(evaluator: Evaluator, out: Path, chosen: SweepPlan) -> list[Path]:
    """Sweep until all parts are there but one, and return them."""

    def interrupt(done: int, _total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(chosen, evaluator, run_at_once(evaluator.evaluate), out, ABOUT, interrupt)
    parts = sorted((out / PARTS).iterdir())
    assert len(parts) == 2
    return parts


@pytest.fixture(scope="module")
def whole(evaluator: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    out = tmp_path_factory.mktemp("whole") / "s"
    return run_sweep(plan(evaluator), evaluator, run_at_once(evaluator.evaluate), out, ABOUT)


def resumed(evaluator: Evaluator, out: Path) -> tuple[Sweep, list[str], int]:
    """Sweep again; return the sweep, the notes, and how many designs were evaluated."""
    notes: list[str] = []
    counts: list[int] = []

    at_once = run_at_once(evaluator.evaluate)

    def submit(designs):
        counts.append(len(designs))
        return at_once(designs)

    done = run_sweep(plan(evaluator), evaluator, submit, out, ABOUT, note=notes.append)
    return done, notes, sum(counts)


def faster(path: Path) -> bytes:
    """Return a part in which the first design is 500 times as fast as vanilla."""
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index("speedup")
    speedups = [500.0, *table["speedup"].to_pylist()[1:]]
    return parquet_bytes(table.set_column(place, "speedup", pa.array(speedups)))


def test_parts_that_nobody_touched_are_not_evaluated_again(
    evaluator: Evaluator, whole: Sweep, tmp_path: Path
) -> None:
    kept = interrupted(evaluator, tmp_path / "s", plan(evaluator))
    done, notes, count = resumed(evaluator, tmp_path / "s")
    assert (notes, count) == ([], PLANNED - 4 * len(kept))
    assert done.designs.equals(whole.designs)


@pytest.mark.parametrize(
    "damage",
    [
        lambda parts: parts[0].write_bytes(faster(parts[0])),
        lambda parts: parts[0].write_bytes(parts[0].read_bytes()[:-9]),
        lambda parts: parts[0].write_bytes(b""),
        lambda parts: parts[0].rename(parts[0].with_name(f"{parts[0].name[:6]}.parquet")),
    ],
    ids=["edited", "cut off", "empty", "as earlier versions named it"],
)
def test_a_damaged_part_is_evaluated_again_with_a_note(
    evaluator: Evaluator, whole: Sweep, tmp_path: Path, damage: Callable[[list[Path]], object]
) -> None:
    damage(interrupted(evaluator, tmp_path / "s", plan(evaluator)))
    done, notes, count = resumed(evaluator, tmp_path / "s")
    assert len(notes) == 1
    assert notes[0].startswith("evaluated again: ")
    assert count == PLANNED - 4
    assert done.designs.equals(whole.designs)


def test_parts_that_changed_places_are_evaluated_again(
    evaluator: Evaluator, whole: Sweep, tmp_path: Path
) -> None:
    first, second = interrupted(evaluator, tmp_path / "s", plan(evaluator))
    names = first.name, second.name
    first.rename(first.with_name("000000"))
    second.rename(second.with_name(names[0][:6] + names[1][6:]))
    first.with_name("000000").rename(first.with_name(names[1][:6] + names[0][6:]))
    done, notes, count = resumed(evaluator, tmp_path / "s")
    assert (len(notes), count) == (2, PLANNED)
    assert done.designs.equals(whole.designs)


def test_a_part_of_another_plan_is_evaluated_again(
    evaluator: Evaluator, whole: Sweep, tmp_path: Path
) -> None:
    """Its designs are the same, its sources are not."""
    sources = {**sources_of(evaluator), "prompts": {"domain": "x", "count": 1, "chosen": [0]}}
    other = interrupted(evaluator, tmp_path / "other", plan(evaluator, sources=sources))
    own = interrupted(evaluator, tmp_path / "s", plan(evaluator))
    own[0].unlink()
    shutil.copy(other[0], own[0].parent)
    done, notes, _ = resumed(evaluator, tmp_path / "s")
    assert len(notes) == 1
    assert "is not as this sweep wrote it" in notes[0]
    assert done.designs.equals(whole.designs)


@pytest.mark.parametrize("change", [faster, lambda path: path.read_bytes()[::-1]])
def test_a_part_whose_digest_was_made_to_fit_is_still_held_against_the_plan(
    evaluator: Evaluator, whole: Sweep, tmp_path: Path, change: Callable[[Path], bytes]
) -> None:
    parts = interrupted(evaluator, tmp_path / "s", plan(evaluator))
    forged = change(parts[1])
    parts[1].unlink()
    digests = SweepParts(folder=parts[1].parent, plan=plan(evaluator), devices=(), note=print)
    index = int(parts[1].name[:6])
    name = f"{index:06d}-{digests._digest(index, forged)}.parquet"
    parts[1].with_name(name).write_bytes(forged)
    done, notes, _ = resumed(evaluator, tmp_path / "s")
    assert len(notes) == 1
    assert "500" in notes[0] or "unreadable" in notes[0]
    assert done.designs.equals(whole.designs)


def test_without_a_listener_the_note_is_a_warning(evaluator: Evaluator, tmp_path: Path) -> None:
    parts = interrupted(evaluator, tmp_path / "s", plan(evaluator))
    parts[0].write_bytes(b"")
    with pytest.warns(UserWarning, match="evaluated again: "):
        run_sweep(
            plan(evaluator), evaluator, run_at_once(evaluator.evaluate), tmp_path / "s", ABOUT
        )


def test_a_worker_that_returns_nonsense_is_not_believed(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    """Nothing is finished; the parts can be removed."""

    def evaluate(designs):
        rows = evaluator.evaluate(designs)
        return rows.assign(speedup=rows["speedup"].where(rows.index != 1, 500.0))

    with pytest.raises(ProfileError, match=r"wanted speedup.*: remove .*parts and sweep again"):
        run_sweep(plan(evaluator), evaluator, run_at_once(evaluate), tmp_path / "s", ABOUT)
    with pytest.raises(ProfileError, match="unfinished"):
        read_sweep(tmp_path / "s")


def _sealed(logs: object) -> bytes:
    return json.dumps(sealed({"logs": logs}, "trials")).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"\xff\xfe\n",
        b"[]",
        b"null",
        *map(_sealed, ([{"op_code": 99}], [[]], [None], ["x"], 3)),
    ],
)
def test_a_damaged_journal_of_a_search_is_named(
    evaluator: Evaluator, tmp_path: Path, data: bytes
) -> None:
    pytest.importorskip("optuna")
    chosen = plan(evaluator, trials=80)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    submit = run_at_once(evaluator.evaluate)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(chosen, evaluator, submit, tmp_path / "s", ABOUT, interrupt)
    (tmp_path / "s" / PARTS / "trials-000000.json").write_bytes(data)
    with pytest.raises(InputError, match="trials"):
        run_sweep(chosen, evaluator, submit, tmp_path / "s", ABOUT)
