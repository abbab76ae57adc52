"""Make and remove the folders of an output, and bring their entries to the disk.

Functions here raise OSError; who calls them knows what to tell the user.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path) -> list[Path]:
    """Make a folder with its parents where they are missing.

    Args:
        path: The folder. Its parents may be links to folders; the folder itself may not.

    Returns:
        The folders that were made, the innermost first.

    Raises:
        OSError: If it cannot be made, or something that is no folder is in its place.
    """
    refuse_link(path)
    return _make(path)


def make_parents(path: Path) -> list[Path]:
    """Make the folder that a file is to stand in, and return what was made. Raises OSError."""
    return _make(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there, with everything in it; what links point at stays.

    Raises:
        OSError: If something cannot be removed, or the folder is a link.
    """
    refuse_link(path)
    if path.is_dir():
        shutil.rmtree(path)


def sync_folder(path: Path) -> None:
    """Bring the entries of a folder to the disk; Windows and some network disks cannot."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those folders that are empty, in this order."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def refuse_link(path: Path) -> None:
    """Raise OSError where a path is a link."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"{path.name} is a link")


def _make(path: Path) -> list[Path]:
    missing = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        missing.append(folder)
    try:
        for folder in reversed(missing):
            os.mkdir(folder)  # noqa: PTH102  tests let the functions of os fail
            sync_folder(folder.parent)
    except BaseException:
        remove_empty(missing)
        raise
    return missing
