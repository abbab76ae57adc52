"""The folder of a profile: which files it holds, and whether a new one may be written there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import lock_folder
from adadecode.profiles.schema import ALL_TABLES, MANIFEST
from adadecode.profiles.sealed_folder import SealedFolder, is_unused, member, sealing

TABLE_FILES = {name: f"{name}.parquet" for name in ALL_TABLES}
"""Names of the files by the table that each holds."""


def table_path(folder: Path, table: str) -> Path:
    """Return where a table of a profile is; a process killed at the end may not have moved it."""
    return member(folder, MANIFEST, TABLE_FILES[table])


def check_unused(folder: Path, option: str = "--out") -> None:
    """Check that a new profile may be written into a folder.

    It may where the folder is missing, empty, or holds what a process left that was killed while it
    wrote a profile there.

    Raises:
        InputError: If something else is there.
    """
    if not is_unused(folder, MANIFEST, TABLE_FILES.values()):
        raise InputError(
            f"{folder} exists and is not an empty directory: name another one with {option}"
        )


@contextmanager
def new_profile(folder: Path) -> Iterator[None]:
    """Hold a folder into which a new profile is to be written, so that no other process does.

    Raises:
        InputError: If something is there, or another process is writing into it.
    """
    check_unused(folder)
    with lock_folder(folder):
        check_unused(folder)  # another process may have written one by now
        yield


@contextmanager
def writing_profile(folder: Path) -> Iterator[SealedFolder]:
    """Write the files of a profile; an older one is replaced when all are there, or not at all.

    Raises:
        InputError: If another process is writing into the folder, or it cannot be written into.
    """
    with sealing(folder, MANIFEST, TABLE_FILES.values()) as files:
        yield files
