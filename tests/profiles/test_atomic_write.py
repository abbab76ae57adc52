"""A reader sees a whole file or the one that was there before."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from adadecode.profiles import part_file
from adadecode.profiles.atomic_write import (
    append_text,
    write_bytes,
    write_json,
    write_stream,
    write_text,
    write_together,
)
from adadecode.profiles.errors import InputError
from adadecode.profiles.part_file import PART_SUFFIX
from tests.support.failing_disk import Fault, failing_disk, in_child, steps_of

WRITER = "adadecode.profiles.atomic_write"


def test_every_form_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "file"
    write_bytes(place, b"\x00\xff")
    assert place.read_bytes() == b"\x00\xff"
    write_text(place, "größer\n")
    assert place.read_text(encoding="utf-8") == "größer\n"
    write_json(place, {"a": ["ü", 0.1]})
    assert place.read_text(encoding="utf-8") == '{\n "a": [\n  "ü",\n  0.1\n ]\n}\n'
    write_json(place, {"a": 1}, indent=None)
    assert place.read_text() == '{"a": 1}\n'
    write_stream(place, lambda part: np.save(part, np.arange(3)))
    assert np.load(place).tolist() == [0, 1, 2]
    assert list(place.parent.iterdir()) == [place]


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("before")

    def interrupted(part: BinaryIO) -> None:
        part.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_stream(place, interrupted)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(place, object())
    assert place.read_text() == "before"
    with pytest.raises(KeyboardInterrupt):
        write_stream(tmp_path / "new" / "folder" / "file", interrupted)
    assert list(tmp_path.iterdir()) == [place]


def test_half_of_a_pair_is_written_as_its_escape(tmp_path: Path) -> None:
    """Damaged texts hold such; JSON reads it back, and the file is UTF-8."""
    write_text(tmp_path / "text", "a\ud800b")
    assert (tmp_path / "text").read_text(encoding="utf-8") == "a\\ud800b"
    write_json(tmp_path / "json", ["a\ud800b"])
    assert json.loads((tmp_path / "json").read_text(encoding="utf-8")) == ["a\ud800b"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a folder cannot be synced")
def test_a_file_is_synced_before_it_is_moved_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each: after a crash the old file or the whole new one is there."""
    place = tmp_path / "file"
    place.write_text("before")
    syncs: list[tuple[str, str]] = []

    def record_sync(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        kind = "folder" if stat.S_ISDIR(mode) else "file"
        synced = tmp_path if kind == "folder" else place.with_name(place.name + PART_SUFFIX)
        assert os.path.samestat(os.fstat(descriptor), synced.stat())
        syncs.append((kind, place.read_text()))

    monkeypatch.setattr(os, "fsync", record_sync)
    write_text(place, "after")
    assert syncs == [("file", "before"), ("folder", "after")]


def test_a_full_disk_is_an_input_error_and_leaves_no_part(tmp_path: Path) -> None:
    def full(part: BinaryIO) -> None:
        part.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"cannot write .*file \(No space left.*: make room"):
        write_stream(tmp_path / "file", full)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_disk_that_fails_at_any_step_leaves_the_old_file_or_the_new(
    tmp_path: Path, number: int
) -> None:
    """At the first byte, when it is synced, when it is moved, and when its folder is synced."""
    place = tmp_path / "file"
    steps = steps_of(tmp_path, lambda: write_text(place, "before"))
    assert [kind for kind, _ in steps] == ["open", "write", "fsync", "replace", "fsync"]
    for at in range(len(steps)):
        write_text(place, "before")
        with (
            failing_disk(tmp_path, Fault(at=at, outcome=number)),
            pytest.raises(InputError, match=f"cannot write {place} \\("),
        ):
            write_text(place, "after")
        assert place.read_text() == ("after" if at == len(steps) - 1 else "before")
        assert list(tmp_path.iterdir()) == [place]


def test_several_files_are_replaced_when_all_are_on_the_disk(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("page.html", "a.csv", "b.csv")]

    def write(text: str) -> None:
        write_together(dict.fromkeys(places, text))

    steps = steps_of(tmp_path, lambda: write("before"))
    for at in range([kind for kind, _ in steps].index("replace")):
        with (
            failing_disk(tmp_path, Fault(at=at, outcome=errno.ENOSPC)),
            pytest.raises(InputError, match="make room"),
        ):
            write("after")
        assert {place.read_text() for place in places} == {"before"}
        assert sorted(tmp_path.iterdir()) == sorted(places)
    with (
        failing_disk(tmp_path, Fault(at=1, step="replace", outcome="interrupt")),
        pytest.raises(KeyboardInterrupt),
    ):
        write("after")
    assert {place.read_text() for place in places} == {"after"}


def test_what_a_library_makes_of_a_full_disk_is_the_full_disk(tmp_path: Path) -> None:
    """Libraries raise errors of their own where they cannot write."""

    def save(part: BinaryIO) -> None:
        try:
            part.write(b"data")
        except OSError:
            raise RuntimeError("unexpected pos 576 vs 534") from None

    with (
        failing_disk(tmp_path, Fault(at=0, step="write", outcome=errno.ENOSPC)),
        pytest.raises(InputError, match="No space left"),
    ):
        write_stream(tmp_path / "file", save)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outcome", ["kill", "interrupt"])
def test_a_process_that_ends_at_any_step_leaves_a_whole_file(tmp_path: Path, outcome: str) -> None:
    """What it leaves beside it hinders nobody, and is gone after the next writing."""
    place, below = tmp_path / "d" / "file", tmp_path / "d"
    write_text(place, "before")
    for at in range(5):
        ended = in_child(
            lambda: write_text(place, "after"), Fault(at=at, outcome=outcome), below=below
        )
        assert ended == (-signal.SIGKILL if outcome == "kill" else 1)
        assert place.read_text() in {"before", "after"}
        if outcome == "interrupt":
            assert list(below.iterdir()) == [place]
        write_text(place, "before")
        assert list(below.iterdir()) == [place]


def test_a_file_is_closed_before_it_is_moved_where_open_files_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, which also has no locks."""
    place, replaced = tmp_path / "file", []

    def replace(old: Path, new: Path, replace: Any = os.replace) -> None:
        replaced.append(any(os.path.samestat(old.stat(), one) for one in opened()))
        replace(old, new)

    monkeypatch.setattr(part_file, "_MOVES_OPEN_FILES", False)
    monkeypatch.setattr(os, "replace", replace)
    place.with_name(f"file{PART_SUFFIX}").write_text("left by a killed process")
    write_text(place, "new")
    assert replaced == [False]
    assert place.read_text() == "new"
    assert list(tmp_path.iterdir()) == [place]


def opened() -> Iterator[os.stat_result]:
    """Yield what is known of the open files of this process."""
    for descriptor in range(256):
        with suppress(OSError):
            yield os.fstat(descriptor)


def test_two_never_write_one_part(tmp_path: Path) -> None:
    place = tmp_path / "file"

    def write(part: BinaryIO) -> None:
        part.write(b"first")
        with pytest.raises(InputError, match=r"another process is writing .*file: wait for it"):
            write_text(place, "second")

    write_stream(place, write)
    assert place.read_text() == "first"


@pytest.mark.parametrize("target", ["other", "missing"])
def test_nothing_is_written_through_a_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / "link").symlink_to(target)
    for write in (write_text, append_text):
        with pytest.raises(InputError, match=rf"link, it is a link to {target}: name what"):
            write(tmp_path / "link", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "other"]
    assert (tmp_path / "other").read_text() == "other"


def test_another_name_of_a_file_keeps_what_it_holds(tmp_path: Path) -> None:
    """Not even a part that somebody linked to a file before is written into."""
    (tmp_path / "kept").write_text("kept")
    for name in ("file", f"file{PART_SUFFIX}"):
        (tmp_path / name).hardlink_to(tmp_path / "kept")
    write_text(tmp_path / "file", "new")
    assert (tmp_path / "kept").read_text() == "kept"
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / f"file{PART_SUFFIX}")
    for write in (write_text, append_text):
        with pytest.raises(InputError, match="it is a pipe, a socket or a device: name a file"):
            write(tmp_path / "pipe", "x")
    with pytest.raises(InputError, match=rf"file{PART_SUFFIX} is in the way"):
        write_text(tmp_path / "file", "x")


@pytest.mark.skipif(os.name != "posix", reason="no such names elsewhere")
def test_the_standard_output_is_written_to_as_it_is(tmp_path: Path) -> None:
    """A file behind it keeps what was printed before, and the link /dev/stdout stays a link."""
    code = (
        f"from {WRITER} import write_text, Path; print('before'); "
        "write_text(Path('/dev/stdout'), 'page\\n'); write_text(Path('/dev/null'), 'x'); "
        "print('after')"
    )
    with (tmp_path / "printed").open("wb") as printed:
        subprocess.run([sys.executable, "-c", code], stdout=printed, check=True)
    assert (tmp_path / "printed").read_text() == "before\npage\nafter\n"
    assert not Path("/dev/stdout.part").exists()
    with Path("/dev/full").open("wb") as full:
        code = code.replace("print('before'); ", "")
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "InputError: cannot write /dev/stdout (No space left on device)" in done.stderr


def test_added_text_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "a" / "log"
    append_text(place, "one\n")
    steps = steps_of(tmp_path, lambda: append_text(place, "two\n"))
    for at in range(len(steps)):
        with (
            failing_disk(tmp_path, Fault(at=at, outcome=errno.ENOSPC)),
            pytest.raises(InputError, match=r"cannot write .*log \(No space left.*: make room"),
        ):
            append_text(place, "three\n")
        assert place.read_text() == "one\ntwo\n"


def test_a_file_in_the_place_of_a_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match=r"wanted a directory, .*x is a file.: name another"):
        write_json(tmp_path / "x" / "y", {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*: name another place"):
        write_text(tmp_path / "folder", "")


def test_json_is_read_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "b": "text"}
    write_json(tmp_path / "x", value)
    assert json.loads((tmp_path / "x").read_bytes()) == value
