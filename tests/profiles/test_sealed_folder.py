"""A folder of files is replaced whole or not at all, wherever the writing ends."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.profiles.sealed_folder import is_unused, member, sealing
from tests.support.failing_disk import Fault, failing_disk, in_child, steps_of

SEAL, MEMBERS = "seal.json", ("a", "b", "c")

VERSIONS = {"old": ("a", "c"), "new": ("a", "b")}
"""The files of two results. The new one has another optional file."""


def write(folder: Path, version: str) -> None:
    with sealing(folder, SEAL, MEMBERS) as files:
        for name in VERSIONS[version]:
            files.write(name, version.encode())
        files.finish(version.encode())


def read(folder: Path) -> str | None:
    """Return the result that is there, whole; None where there is none."""
    if not (folder / SEAL).exists():
        assert is_unused(folder, SEAL, MEMBERS)
        return None
    version = (folder / SEAL).read_text()
    for name in VERSIONS[version]:
        assert member(folder, SEAL, name).read_text() == version
    return version


def files_in(folder: Path) -> set[str]:
    if not folder.exists():
        return set()
    return {path.name for path in folder.iterdir()} - {LOCK_FILE}


def test_a_result_replaces_another_and_its_files(tmp_path: Path) -> None:
    for version in ("old", "new", "old"):
        write(tmp_path / "p", version)
        assert read(tmp_path / "p") == version
        assert files_in(tmp_path / "p") == {SEAL, *VERSIONS[version]}
    assert not is_unused(tmp_path / "p", SEAL, MEMBERS)


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_the_older_result_and_nothing_else(
    tmp_path: Path, before: str | None, number: int
) -> None:
    folder = tmp_path / "p"
    if before:
        write(folder, before)
    counted = steps_of(tmp_path, lambda: write(tmp_path / "counted", "new"))
    for at in range(len(counted)):
        try:
            with failing_disk(tmp_path, Fault(at=at, outcome=number)):
                write(folder, "new")
        except InputError as error:
            assert "cannot write" in str(error)  # noqa: PT017  it may also have come through
        found = read(folder)
        assert found in {before, "new"}
        if found == before:
            assert files_in(folder) == {SEAL, *VERSIONS[before]} if before else not folder.exists()
        elif before:
            write(folder, before)
        else:
            return  # the seal was written: every later step leaves the new result


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("outcome", ["kill", "interrupt"])
def test_a_process_that_ends_at_any_step_leaves_one_whole_result(
    tmp_path: Path, before: str | None, outcome: str
) -> None:
    """The next one that writes puts the folder in order."""
    folder = tmp_path / "p"
    seen = set()
    for at in range(40):
        if before:
            write(folder, before)
        fault = Fault(at=at, outcome=outcome)
        ended = in_child(lambda: write(folder, "new"), fault, below=tmp_path)
        seen.add(found := read(folder))
        if ended == 0:
            break
        if outcome == "interrupt" and found == before:
            assert files_in(folder) == ({SEAL, *VERSIONS[before]} if before else set())
        if not before:
            if found is None:
                write(folder, "old")
                assert files_in(folder) == {SEAL, *VERSIONS["old"]}
            if folder.exists():
                shutil.rmtree(folder)
    else:
        pytest.fail("more steps than were tried")
    assert seen == {before, "new"}


def test_what_is_left_without_a_seal_leaves_no_file(tmp_path: Path) -> None:
    """An error of the caller is the caller's, and nothing stays of what was written."""
    write(tmp_path / "p", "old")
    for _ in range(2):
        with suppress(ZeroDivisionError), sealing(tmp_path / "p", SEAL, MEMBERS) as files:
            files.write("a", b"new")
            raise ZeroDivisionError
        assert read(tmp_path / "p") == "old"
        assert files_in(tmp_path / "p") == {SEAL, *VERSIONS["old"]}


def test_a_folder_with_anything_else_is_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    assert is_unused(folder, SEAL, MEMBERS)
    folder.mkdir()
    (folder / LOCK_FILE).touch()
    assert is_unused(folder, SEAL, MEMBERS)
    (folder / "a").touch()
    assert not is_unused(folder, SEAL, MEMBERS), "no writing was begun, so the file is another's"
    (folder / f"{SEAL}.part").touch()
    assert is_unused(folder, SEAL, MEMBERS)
    (folder / "notes").touch()
    assert not is_unused(folder, SEAL, MEMBERS)
    assert not is_unused(folder / "notes", SEAL, MEMBERS)


def test_a_link_among_the_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "p" / "a").symlink_to(tmp_path / "kept")
    with pytest.raises(InputError, match="it is a link to"):
        write(tmp_path / "p", "new")
    assert (tmp_path / "kept").read_text() == "kept"
    assert files_in(tmp_path / "p") == {"a"}
