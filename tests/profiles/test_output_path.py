"""Outputs are checked before any work begins, and nothing is made by the check."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from adadecode.profiles.atomic_write import write_bytes, write_text
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import lock_folder
from adadecode.profiles.output_path import (
    check_different,
    check_output_directory,
    check_output_file,
)
from tests.support.failing_disk import read_only, small_disk


def test_a_new_file_an_old_one_and_a_device_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    for name in ("new.json", "old.json"):
        assert check_output_file(tmp_path / name) == tmp_path / name
    assert check_output_file(os.devnull) == Path(os.devnull)
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


def test_a_directory_may_exist_or_be_made_with_its_parents(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "a" / "b"):
        assert check_output_directory(place) == place
    assert not list(tmp_path.iterdir())
    assert check_output_directory("relative") == Path("relative")


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused(name: str) -> None:
    for check in (check_output_file, check_output_directory):
        with pytest.raises(InputError, match="as --save, got an empty one"):
            check(name, "--save")


def test_a_file_needs_its_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nodir does not exist: make it, or name another file"):
        check_output_file(tmp_path / "nodir" / "x.json")
    with pytest.raises(InputError, match=r"got the directory .*: add a file name"):
        check_output_file(tmp_path)


def test_a_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="x is a file: name another place with --out"):
        check_output_file(tmp_path / "x" / "y")
    for place in (tmp_path / "x", tmp_path / "x" / "y" / "z"):
        with pytest.raises(InputError, match="x is a file: name another place with --out"):
            check_output_directory(place)


def test_a_name_that_no_disk_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        check_output_file(tmp_path / ("x" * 5000))


def test_a_directory_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    for check in (check_output_file, check_output_directory):
        with pytest.raises(InputError, match="no permission to write into"):
            check(tmp_path / "x")


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    for check in (check_output_file, check_output_directory):
        with pytest.raises(InputError, match="is full: make room"):
            check(tmp_path / "x")


@pytest.mark.parametrize("target", ["other", "missing", "folder"])
def test_a_link_is_refused_with_what_it_points_at(tmp_path: Path, target: str) -> None:
    """To a file, to nothing and to a folder, for files and for directories."""
    (tmp_path / "other").write_text("other")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(target)
    for check in (check_output_file, check_output_directory):
        with pytest.raises(InputError, match=rf"it is a link to {target}: name what it points at"):
            check(tmp_path / "link")


def test_a_link_among_the_parents_is_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert check_output_file(tmp_path / "link" / "x") == tmp_path / "link" / "x"
    assert check_output_directory(tmp_path / "link" / "x") == tmp_path / "link" / "x"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["x", "x.part"])
def test_a_pipe_is_refused_and_nobody_waits(tmp_path: Path, name: str) -> None:
    """In the place of the file, and in that of its part."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}, it is a pipe, a socket or a device: name a"):
        check_output_file(tmp_path / "x")


@pytest.mark.skipif(os.name != "posix", reason="no such names elsewhere")
def test_the_standard_output_may_be_named(tmp_path: Path) -> None:
    for name in ("/dev/stdout", "/dev/fd/1"):
        assert check_output_file(name) == Path(name)
    with pytest.raises(InputError, match="cannot write to /dev/fd/98765: name another file"):
        check_output_file("/dev/fd/98765")
    for device in ("/dev/full", "/dev/zero"):
        with pytest.raises(InputError, match="it is a pipe, a socket or a device"):
            check_output_file(device)


def test_a_name_whose_part_no_disk_takes_is_refused(tmp_path: Path) -> None:
    """The name itself is short enough, but the file is written under a longer one."""
    with pytest.raises(InputError, match=r"cannot write .*too long"):
        check_output_file(tmp_path / ("x" * 253))


def test_two_options_never_name_one_place(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    check_different({"--out": page, "--markdown": None, "--csv": tmp_path / "csv"})
    check_different({"--out": Path(os.devnull), "--markdown": Path(os.devnull)})
    with pytest.raises(InputError, match=r"--out and --markdown both name .*page.html: name two"):
        check_different({"--out": page, "--markdown": tmp_path / "a" / ".." / "page.html"})


def test_a_folder_that_is_read_only_for_root_too_is_refused(tmp_path: Path) -> None:
    with read_only(tmp_path) as folder:
        for check in (check_output_file, check_output_directory):
            with pytest.raises(InputError, match="no permission to write into"):
                check(folder / "x")
        with pytest.raises(InputError, match=r"cannot write .*x \(Read-only file system\)"):
            write_text(folder / "x", "")
        with pytest.raises(InputError, match=r"\(Read-only file system\)"), lock_folder(folder):
            pass


def test_a_disk_that_really_is_full_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        (disk / "kept").write_text("kept")
        check_output_file(disk / "kept")
        for place in (disk / "kept", disk / "new"):
            with pytest.raises(InputError, match=r"\(No space left on device\): make room"):
                write_bytes(place, bytes(3 * 2**20))
        assert [(path.name, path.read_text()) for path in disk.iterdir()] == [("kept", "kept")]
        write_bytes(disk / "fill", bytes(3 * 2**19))
        with pytest.raises(InputError, match=r"the disk of .* is full: make room"):
            check_output_file(disk / "kept")
