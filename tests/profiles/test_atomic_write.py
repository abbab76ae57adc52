"""A reader sees a whole file or the one that was there before."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from adadecode.profiles.atomic_write import (
    PART_SUFFIX,
    write_bytes,
    write_json,
    write_stream,
    write_text,
)
from adadecode.profiles.errors import InputError


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
    assert list(tmp_path.iterdir()) == [place]


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
