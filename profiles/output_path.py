"""Check that an output can be written before any work begins. Nothing is created here."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.output_stream import is_stream
from adadecode.profiles.part_file import part_of

LEAST_FREE_BYTES = 2**20
"""Bytes that must be free where an output is to be written."""


def check_output_file(path: str | Path, option: str = "--out") -> Path:
    """Return the path of a file that can be written: a new one, or one that will be replaced.

    The standard output may be named too (``/dev/stdout``, ``/dev/fd/N``), and the null device.

    Args:
        path: What the user named. Its folder must exist.
        option: Name of the option, for the message.

    Raises:
        InputError: If the name is empty, is that of a folder, a link, a pipe or a device, lies in a
            folder that is missing, is a file or cannot be written to, or if the disk is full.
    """
    place = _named(path, option, "a file")
    if is_stream(place):
        if not os.access(place, os.W_OK):
            raise InputError(f"cannot write to {place}: name another file with {option}")
        return place
    if place.is_dir() and not place.is_symlink():
        raise InputError(f"wanted a file as {option}, got the directory {place}: add a file name")
    for one in (place, part_of(place)):
        check_target(one)
    if place.exists() and not os.access(place, os.W_OK):
        raise InputError(
            f"cannot write {place}, it is protected against writing: "
            f"name another file with {option}"
        )
    folder = place.parent
    if not folder.exists():
        raise InputError(
            f"cannot write {place}, the directory {folder} does not exist: "
            f"make it, or name another file with {option}"
        )
    _check_folder(folder, place, option)
    return place


def check_output_directory(path: str | Path, option: str = "--out") -> Path:
    """Return the path of a directory that can be written into, or made with its parents.

    Args:
        path: What the user named. It may exist, empty or not.
        option: Name of the option, for the message.

    Raises:
        InputError: If the name is empty, if it is a link, if it or one of its parents is a file, if
            it may not be written to, or if the disk is full.
    """
    place = _named(path, option, "a directory")
    _refuse_link(place)
    nearest = place
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    _check_folder(nearest, place, option)
    return place


def check_different(outputs: Mapping[str, Path | None]) -> None:
    """Check that no two options name the same output.

    Args:
        outputs: What each option names; None where it is not given.

    Raises:
        InputError: If two are the same.
    """
    seen: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None or is_stream(path):
            continue
        if (other := seen.setdefault(os.path.realpath(path), option)) != option:
            raise InputError(f"{other} and {option} both name {path}: name two places")


def check_target(place: Path) -> None:
    """Check that nothing but a regular file, or nothing, is where a file is to be written.

    Raises:
        InputError: If something else is there, or no file can have this name.
    """
    mode = _mode(place)
    _refuse_link(place)
    if mode is None:
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"cannot write {place}, it is a directory: name another place")
    if not stat.S_ISREG(mode):
        raise InputError(
            f"cannot write {place}, it is a pipe, a socket or a device: name a file, or /dev/stdout"
        )


def _refuse_link(place: Path) -> None:
    if stat.S_ISLNK(_mode(place) or 0):
        raise InputError(
            f"cannot write {place}, it is a link to {place.readlink()}: name what it points at, "
            "or remove it"
        )


def _mode(place: Path) -> int | None:
    """Return the mode of what is there, links not followed; None where nothing is.

    Raises:
        InputError: If nothing can be there: a name too long, a null byte, no right to look.
    """
    try:
        return place.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {place} ({reason}): name another place") from error


def _named(path: str | Path, option: str, wanted: str) -> Path:
    # Path("") is Path("."), so only a text shows that a name is empty.
    if not str(path).strip():
        raise InputError(f"wanted the name of {wanted} as {option}, got an empty one")
    place = Path(path)
    _mode(place)
    return place


def _check_folder(folder: Path, place: Path, option: str) -> None:
    """Raise InputError unless ``folder``, which exists, can take a new entry for ``place``."""
    if not folder.is_dir():
        raise InputError(
            f"cannot write {place}, {folder} is a file: name another place with {option}"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"cannot write {place}, no permission to write into {folder}: "
            f"name another place with {option}"
        )
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES or _without_entries(folder):
        raise InputError(
            f"cannot write {place}, the disk of {folder} is full: "
            f"make room, or name another place with {option}"
        )


def _without_entries(folder: Path) -> bool:
    """Return whether the disk takes no further file, however small."""
    if os.name != "posix":
        return False
    disk = os.statvfs(folder)
    return disk.f_files > 0 and disk.f_favail == 0
