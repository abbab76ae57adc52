"""Check that an output can be written before any work begins. Nothing is created here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from adadecode.profiles.errors import InputError

LEAST_FREE_BYTES = 2**20
"""Bytes that must be free where an output is to be written."""


def check_output_file(path: str | Path, option: str = "--out") -> Path:
    """Return the path of a file that can be written: a new one, or one that will be replaced.

    Args:
        path: What the user named. Its folder must exist.
        option: Name of the option, for the message.

    Raises:
        InputError: If the name is empty, is that of a folder, lies in a folder that is missing, is
            a file or cannot be written to, or if the disk is full.
    """
    place = _named(path, option, "a file")
    if place.is_dir():
        raise InputError(f"wanted a file as {option}, got the directory {place}: add a file name")
    if place.exists() and not place.is_file():  # a device or a pipe
        if not os.access(place, os.W_OK):
            raise InputError(f"cannot write to {place}: name another file with {option}")
        return place
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
        InputError: If the name is empty, if it or one of its parents is a file, if it may not be
            written to, or if the disk is full.
    """
    place = _named(path, option, "a directory")
    nearest = place
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    _check_folder(nearest, place, option)
    return place


def _named(path: str | Path, option: str, wanted: str) -> Path:
    # Path("") is Path("."), so only a text shows that a name is empty.
    if not str(path).strip():
        raise InputError(f"wanted the name of {wanted} as {option}, got an empty one")
    place = Path(path)
    try:
        place.exists()
    except (OSError, ValueError) as error:  # a name too long, a null byte, no right to look
        raise InputError(f"cannot write {place} ({error}): name another place") from error
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
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        raise InputError(
            f"cannot write {place}, the disk of {folder} is full: "
            f"make room, or name another place with {option}"
        )
