"""Write files so that a reader sees a whole one or none.

Every file of this project that matters after a crash is written here. The data goes into
``NAME.part`` in the same folder, is synced to the disk and then moved; the folder is synced too.
Whatever happens on the way, the file that was there before stays as it was.

======================  ==========================================================================
`write_bytes`           bytes
`write_text`            text, encoded as UTF-8
`write_json`            anything JSON can hold, with a line feed at the end
`write_with`            whatever a callback writes at a path it is given (a library's own ``save``)
======================  ==========================================================================

All of them create the folder where it is missing and raise `InputError` where the file cannot be
written. Something that is no regular file, such as ``/dev/stdout``, is written to directly.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from adadecode.profiles.errors import InputError

PART_SUFFIX = ".part"
"""What the name of a file that is still being written ends with."""


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file at ``path`` by one that holds these bytes.

    Raises:
        InputError: If the file cannot be written.
    """
    write_with(path, lambda part: _write_all(part, data))


def write_text(path: Path, text: str) -> None:
    """Replace the file at ``path`` by one that holds this text in UTF-8.

    Raises:
        InputError: If the file cannot be written.
    """
    write_bytes(path, text.encode())


def write_json(path: Path, value: object, *, indent: int | None = 1) -> None:
    """Replace the file at ``path`` by one that holds this value as JSON.

    Args:
        path: Where to write.
        value: Anything that ``json.dumps`` takes.
        indent: Spaces a level; None for a single line.

    Raises:
        InputError: If the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Replace the file at ``path`` by one that a callback writes.

    Args:
        path: Where the file is to stand in the end.
        write: Called once with the path to write at, in the same folder. What it raises passes
            through, and the file that was there before stays.

    Raises:
        InputError: If the operating system refuses: no room, no permission, a file in the place of
            a folder.
    """
    try:
        _replace(path, write)
    except OSError as error:
        with suppress(OSError):
            _part_of(path).unlink(missing_ok=True)
        raise InputError(f"cannot write {path} ({_reason(path, error)}") from error


def _reason(path: Path, error: OSError) -> str:
    """Return the reason of the operating system, and what to do."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        file = next(parent for parent in path.parents if parent.exists())
        return f"wanted a directory, {file} is a file): name another place"
    todo = "name another place"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        todo = f"make room, or {todo}"
    return f"{error.strerror or error}): {todo}"


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + PART_SUFFIX)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    if path.exists() and not path.is_file() and not path.is_dir():
        write(path)  # a device or a pipe, which nothing can be moved onto
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(path)
    write(part)
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(path)
    if os.name == "posix":  # the move must reach the disk too; elsewhere a folder cannot be synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write_all(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
