"""What an unfinished recording left is used again only where it is whole and this recording's."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from adadecode.engine.cli.profile import app
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.profiling import setup
from adadecode.engine.profiling.piece_store import MARK, PIECES, SETTINGS, PieceStore
from adadecode.engine.runtime.timing_lock import BESIDE, timing_alone
from adadecode.profiles.digest import sealed, sha256_hex
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE, lock_folder
from adadecode.profiles.schema import MANIFEST
from adadecode.profiles.store import Profile, read_profile
from tests.support.failing_disk import Fault, failing_disk, states_of, steps_of
from tests.support.few_visits import few_visits  # noqa: F401  # an autouse fixture
from tests.support.held_folder import held_elsewhere
from tests.support.models import tiny_model
from tests.support.same_recordings import assert_same_but_timings
from tests.support.saved_model import options, refusal, saved_model

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


def record(arguments: list[str]) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def resume(out: Path) -> str:
    return record(["--out", str(out), "--resume"])


@pytest.fixture(scope="module")
def begun(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two recordings of the same settings with all pieces, stopped before the profile is made."""
    found = {}
    for name in ("one", "other"):
        found[name] = tmp_path_factory.mktemp(name) / "p"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("adadecode.engine.profiling.recorder.write_profile", _stopping)
            assert CliRunner().invoke(app, options(model, found[name])).exit_code == 130
    return found


def _stopping(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    out = tmp_path_factory.mktemp("whole") / "p"
    record(options(model, out))
    return read_profile(out)


@pytest.fixture
def out(begun: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun["one"], tmp_path / "p"))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(0).randrange(len(data))] ^= 4
    path.write_bytes(data)


def gone(path: Path) -> None:
    path.unlink()


PIECE = "2-runs-000-0001"


# ---- pieces ----


@pytest.mark.parametrize("damage", [torn, emptied, zeroed, flipped, gone], ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", [f"{PIECE}.runs.parquet", f"{PIECE}{MARK}"])
def test_a_damaged_piece_is_made_again(
    out: Path, whole: Profile, name: str, damage: Damage
) -> None:
    """It is named, and all others are kept."""
    damage(out / PIECES / name)
    said = resume(out)
    if damage is not gone or not name.endswith(MARK):
        assert f"damaged, and made again: {PIECE}\n" in said
    assert_same_but_timings(read_profile(out), whole)


def test_pieces_of_another_recording_of_the_same_settings_are_made_again(
    out: Path, begun: dict[str, Path], whole: Profile
) -> None:
    """With its marks: they are whole, and were measured at another time."""
    for path in (begun["other"] / PIECES).glob(f"{PIECE}.*"):
        shutil.copy(path, out / PIECES)
    assert f"made again: {PIECE}\n" in resume(out)
    assert_same_but_timings(read_profile(out), whole)


def test_pieces_that_are_swapped_are_made_again(out: Path, whole: Profile) -> None:
    one, other = (f"1-trace-{prompt:04}" for prompt in range(2))
    for path in list((out / PIECES).glob(f"{one}.*")):
        twin = path.with_name(path.name.replace(one, other))
        moved = path.read_bytes()
        path.write_bytes(twin.read_bytes())
        twin.write_bytes(moved)
    assert f"made again: {one}, {other}" in resume(out)
    assert_same_but_timings(read_profile(out), whole)


def test_only_the_damaged_piece_is_made_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped(out / PIECES / f"{PIECE}.rounds.parquet")
    made: list[str] = []
    write = PieceStore.write

    def noting(self: PieceStore, piece: str, tables: Any) -> None:
        made.append(piece)
        write(self, piece, tables)

    monkeypatch.setattr(PieceStore, "write", noting)
    resume(out)
    assert made == [PIECE]


@pytest.mark.parametrize("data", [b"PAR1 no table", b""])
def test_a_sealed_piece_that_is_no_table_is_made_again(
    out: Path, whole: Profile, data: bytes
) -> None:
    mark = out / PIECES / f"{PIECE}{MARK}"
    (out / PIECES / f"{PIECE}.runs.parquet").write_bytes(data)
    found = json.loads(mark.read_text())
    found["tables"]["runs"] = sha256_hex(data)
    mark.write_text(json.dumps(sealed(found, "a mark")))
    assert f"made again: {PIECE}\n" in resume(out)
    assert_same_but_timings(read_profile(out), whole)


@pytest.mark.parametrize(
    "change",
    [{"tables": []}, {"tables": {"thesis": "0" * 64}}, {"tables": {"runs": 3}}, {"piece": 3}],
)
def test_a_sealed_mark_of_nonsense_marks_nothing(out: Path, change: dict[str, Any]) -> None:
    mark = out / PIECES / f"{PIECE}{MARK}"
    mark.write_text(json.dumps(sealed(json.loads(mark.read_text()) | change, "a mark")))
    assert f"made again: {PIECE}\n" in resume(out)


def test_a_piece_that_changes_while_it_is_recorded_is_not_used(out: Path) -> None:
    settings = PieceStore.settings(out)
    store = PieceStore.open(out, settings, resume=True)
    flipped(out / PIECES / f"{PIECE}.runs.parquet")
    with pytest.raises(InputError, match=r"was changed since it was written: go on with --resume"):
        store.table("runs")
    with pytest.raises(InputError, match="was changed since it was written"):
        store.rows(PIECE, "runs")


def test_a_pipe_among_the_pieces_is_refused_and_not_waited_for(out: Path) -> None:
    path = out / PIECES / f"{PIECE}.runs.parquet"
    path.unlink()
    os.mkfifo(path)
    assert "pipe" in refusal(["--out", str(out), "--resume"])


# ---- the description of the recording ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"seed": 3}}, "was edited: its digest is"),
        ({"digest": None}, "was edited"),
        ({"format": 1}, "was edited"),
    ],
)
def test_edited_settings_are_refused(out: Path, change: dict[str, Any], message: str) -> None:
    found = json.loads((out / SETTINGS).read_text())
    (out / SETTINGS).write_text(json.dumps(found | change))
    assert message in refusal(["--out", str(out), "--resume"])
    assert len(list((out / PIECES).glob(f"*{MARK}"))) > 5


@pytest.mark.parametrize("key", ["format", "recording", "settings"])
@pytest.mark.parametrize("value", [None, 3, True, "x", [], ["x"], 10**30])
def test_sealed_nonsense_is_refused(out: Path, key: str, value: Any) -> None:
    if (key, value) == ("recording", "x"):
        return
    found = json.loads((out / SETTINGS).read_text())
    (out / SETTINGS).write_text(json.dumps(sealed(found | {key: value}, "settings")))
    assert "does not describe a recording of this version" in refusal(
        ["--out", str(out), "--resume"]
    )


def test_a_recording_that_an_earlier_version_began_is_refused(out: Path) -> None:
    """Its pieces carry no digests; they stay."""
    (out / SETTINGS).write_text(json.dumps(PieceStore.settings(out)))
    for mark in (out / PIECES).glob(f"*{MARK}"):
        mark.write_bytes(b"")
    assert "an earlier version began, whose pieces carry no digests" in refusal(
        ["--out", str(out), "--resume"]
    )
    assert (out / PIECES / f"{PIECE}.runs.parquet").exists()


def test_pieces_without_their_recording_are_not_begun_anew(model: Path, out: Path) -> None:
    (out / SETTINGS).unlink()
    assert "not an empty directory and holds no recording" in refusal(options(model, out))


def test_a_damaged_profile_keeps_its_pieces(out: Path) -> None:
    """Where the recording was killed just after it was whole."""
    (out / MANIFEST).write_text("{}")
    assert "manifest" in refusal(["--out", str(out), "--resume"])
    assert (out / PIECES / f"{PIECE}.runs.parquet").exists()


def test_other_heads_are_noticed_whatever_number_differs(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording does not go on with heads of which one number changed."""
    folder, out = tmp_path / "heads", tmp_path / "p"
    tiny = tiny_model("llama", torch.float32)
    matrix = torch.eye(64)
    ExitHeads(tiny, {2: matrix, 4: matrix}).save(folder)
    arguments = options(model, out)
    arguments[arguments.index("--heads") + 1] = str(folder)
    with monkeypatch.context() as patch:
        patch.setattr("adadecode.engine.profiling.recorder.write_profile", _stopping)
        assert CliRunner().invoke(app, arguments).exit_code == 130
    matrix[13, 17] = 0.25
    ExitHeads(tiny, {2: torch.eye(64), 4: matrix}).save(folder)
    assert "heads_sha256 was" in refusal(["--out", str(out), "--resume"])


# ---- the folder, held from the beginning to the end ----


@pytest.mark.parametrize("resumed", [False, True])
def test_a_second_process_is_refused_before_it_loads_anything(
    model: Path, out: Path, tmp_path: Path, resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would disturb the times of the first by loading alone."""
    monkeypatch.setattr(setup, "load_model", lambda *_, **__: pytest.fail("it was loaded"))
    folder = out if resumed else tmp_path / "new"
    arguments = ["--out", str(out), "--resume"] if resumed else options(model, folder)
    with held_elsewhere(folder):
        said = refusal(arguments)
    assert said.startswith(f"another process is writing into {folder}: wait for it")


def test_a_recording_beside_another_one_is_told_of_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into another folder: both are recorded."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with timing_alone(lambda _: pytest.fail("nobody else times")):
        assert " ".join(BESIDE.split()) in " ".join(record(options(model, tmp_path / "p")).split())
    assert read_profile(tmp_path / "p").manifest["name"] == "p"


def test_the_folder_is_held_while_the_model_is_loaded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, refused = setup.load_model, []

    def meeting(*args: Any, **kwargs: Any) -> Any:
        def second() -> None:
            with pytest.raises(InputError, match="is writing into"), lock_folder(tmp_path / "p"):
                pass
            refused.append(True)

        other = threading.Thread(target=second)
        other.start()
        other.join()
        return load(*args, **kwargs)

    monkeypatch.setattr(setup, "load_model", meeting)
    record(options(model, tmp_path / "p"))
    assert refused == [True]


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "file"])
def test_an_out_that_is_no_directory_is_refused_and_left(
    model: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "load_model", lambda *_, **__: pytest.fail("it was loaded"))
    place, kept = tmp_path / "p", tmp_path / "kept"
    {
        "link": lambda: (kept.mkdir(), place.symlink_to(kept)),
        "dangling": lambda: place.symlink_to(kept),
        "pipe": lambda: os.mkfifo(place),
        "file": lambda: place.write_text("kept"),
    }[kind]()
    for arguments in (options(model, place), ["--out", str(place), "--resume"]):
        assert "cannot write" in refusal(arguments)
    assert kept.exists() == (kind == "link")
    assert not (kind == "link" and list(kept.iterdir()))


# ---- disks that fail, and processes that are killed ----


def test_a_recording_that_is_killed_at_any_step_goes_on_to_the_same_tables(
    model: Path, whole: Profile, tmp_path: Path
) -> None:
    """From what stands on the disk before some of the steps of writing."""
    folder = tmp_path / "p"
    folder.mkdir()
    states = states_of(folder, tmp_path / "states", lambda: record(options(model, folder)))
    last = next(i for i, state in enumerate(states) if (state / MANIFEST).exists())
    for state in {*states[:last:90], states[last - 1], states[last + 1], states[-2]}:
        begins = not (state / SETTINGS).exists() and not (state / MANIFEST).exists()
        if begins:
            record(options(model, state))
        elif (state / SETTINGS).exists():
            resume(state)
        assert_same_but_timings(read_profile(state), whole)
        left = {path.name for path in state.iterdir()} - {LOCK_FILE}
        assert left == {path.name for path in folder.iterdir()}


def test_a_disk_that_is_full_at_any_step_is_one_sentence(
    model: Path, whole: Profile, tmp_path: Path
) -> None:
    """And what was finished is kept: --resume goes on."""
    steps = steps_of(tmp_path, lambda: record(options(model, tmp_path / "counted")))
    refused = 0
    for at in range(0, len(steps), len(steps) // 3):
        out = tmp_path / str(at)
        with failing_disk(tmp_path, Fault(at=at, outcome=errno.ENOSPC)):
            result = CliRunner().invoke(app, options(model, out))
        assert result.exit_code == 0 or isinstance(result.exception, InputError), at
        if result.exit_code:
            refused += 1
            assert "No space left" in str(result.exception)
            assert not (out / MANIFEST).exists()
            if (out / SETTINGS).exists():
                resume(out)
            else:
                record(options(model, out))
        assert_same_but_timings(read_profile(out), whole)
    assert refused >= 3
