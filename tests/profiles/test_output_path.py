"""Outputs are checked before any work begins, and nothing is made by the check."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from adadecode.profiles.errors import InputError
from adadecode.profiles.output_path import check_output_directory, check_output_file


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
