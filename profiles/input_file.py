"""Read files that a user names, within bounds, and say in one sentence what is wrong with them.

Only regular files are read, or links to them: a pipe would hang, a device would never end. Every
function raises `InputError`, or the subclass that it is given as ``error``.

================  ================================================================================
`read_bytes`      the bytes of a file
`read_text`       its text, which must be UTF-8; a byte order mark is left out
`read_json`       the value of a JSON file
`read_toml`       the tables of a TOML file
`parse_json`      the value of a text that was read already
`decode`          the text of bytes that were read already
`is_there`        whether a path leads anywhere
`is_folder`       whether it leads to a directory
================  ================================================================================
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from adadecode.profiles.errors import InputError

LARGEST_TEXT = 64 * 2**20
"""Bytes of the largest text, JSON or TOML file that is read."""

LARGEST_TABLE = 4 * 2**30
"""Bytes of the largest table that is read."""

DEEPEST = 64
"""Levels of the most deeply nested JSON or TOML that is taken."""


def read_bytes(
    path: str | Path, *, at_most: int = LARGEST_TABLE, error: type[InputError] = InputError
) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: The file.
        at_most: Bytes that it may have.
        error: What to raise.

    Raises:
        InputError: If it is missing, no regular file, too large, or may not be read; of the class
            ``error``.
    """
    place = Path(path)
    try:
        # Without waiting: opening a pipe that nobody writes to would never return.
        descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as problem:  # a null byte in a name is a ValueError
        raise error(_unreadable(place, problem)) from None
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise error(f"wanted a regular file, got {_kind(about.st_mode)} {place}: name a file")
    with os.fdopen(descriptor, "rb") as file:
        try:
            # By its size, before it takes memory; and once more, as it may have grown.
            data = file.read(about.st_size + 1) if about.st_size <= at_most else b""
            if about.st_size < len(data) <= at_most:
                data += file.read(at_most + 1 - len(data))
        except (OSError, MemoryError) as problem:
            raise error(_unreadable(place, problem)) from None
    if (size := max(about.st_size, len(data))) > at_most:
        raise error(
            f"wanted a file of at most {at_most:,} bytes, got {size:,} in {place}: give a smaller "
            "one"
        )
    return data


def read_text(
    path: str | Path, *, at_most: int = LARGEST_TEXT, error: type[InputError] = InputError
) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Args:
        path: The file.
        at_most: Bytes that it may have.
        error: What to raise.

    Raises:
        InputError: As `read_bytes`, and if the file is not UTF-8.
    """
    return decode(read_bytes(path, at_most=at_most, error=error), path, error=error)


def read_json(
    path: str | Path, *, at_most: int = LARGEST_TEXT, error: type[InputError] = InputError
) -> Any:  # noqa: ANN401 - JSON holds any value
    """Return the value of a JSON file.

    Args:
        path: The file.
        at_most: Bytes that it may have.
        error: What to raise.

    Raises:
        InputError: As `read_text`, and if the file is not JSON or nested too deeply.
    """
    return parse_json(read_text(path, at_most=at_most, error=error), path, error=error)


def read_toml(
    path: str | Path, *, at_most: int = LARGEST_TEXT, error: type[InputError] = InputError
) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Args:
        path: The file.
        at_most: Bytes that it may have.
        error: What to raise.

    Raises:
        InputError: As `read_text`, and if the file is not TOML or nested too deeply.
    """
    text = read_text(path, at_most=at_most, error=error)
    try:
        tables = tomllib.loads(text)
        _check_depth(tables)
    except RecursionError:
        raise error(
            f"{path} is nested too deeply, over {DEEPEST} levels: give a flatter TOML file"
        ) from None
    except ValueError as problem:  # besides its own error, tomllib lets those of int and date pass
        raise error(f"wanted TOML in {path}, got something else ({problem}): mend it") from None
    return tables


def parse_json(text: str, source: str | Path, *, error: type[InputError] = InputError) -> Any:  # noqa: ANN401 - JSON holds any value
    """Return the value of a JSON text.

    Args:
        text: The text.
        source: Where it comes from, for the message.
        error: What to raise.

    Raises:
        InputError: If it is not JSON, nested too deeply, names a key twice in an object, or holds
            half a pair of surrogates, which is no text; of the class ``error``.
    """
    try:
        found = json.loads(text, object_pairs_hook=_without_twins)
        _check_depth(found)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise error(
            f"{source} is nested too deeply, over {DEEPEST} levels: give a flatter JSON text"
        ) from None
    except ValueError as problem:
        raise error(f"wanted JSON in {source}, got something else ({problem}): mend it") from None
    return found


def decode(data: bytes, source: str | Path, *, error: type[InputError] = InputError) -> str:
    """Return bytes in UTF-8 as text, without a byte order mark.

    Args:
        data: The bytes.
        source: Where they come from, for the message.
        error: What to raise.

    Raises:
        InputError: If they are not UTF-8; of the class ``error``.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(
            f"wanted text in UTF-8 in {source}, got the byte 0x{data[problem.start]:02x} at "
            f"{problem.start}: save it as UTF-8"
        ) from None


def is_there(path: str | Path) -> bool:
    """Return whether a path leads anywhere; False too where it can lead nowhere, or is hidden."""
    return os.path.exists(path)  # noqa: PTH110 - pathlib raises for a name that is too long


def is_folder(path: str | Path) -> bool:
    """Return whether a path leads to a directory; False too where it can lead nowhere."""
    return os.path.isdir(path)  # noqa: PTH112 - pathlib raises for a name that is too long


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises ValueError where a key stands twice: which one counts?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} twice in one object")
    return found


def _check_depth(value: object) -> None:
    """Raise RecursionError where a value is nested over `DEEPEST` levels."""
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise RecursionError


def _unreadable(place: Path, problem: OSError | ValueError | MemoryError) -> str:
    reason = getattr(problem, "strerror", None) or str(problem) or "out of memory"
    if isinstance(problem, FileNotFoundError):
        return f"no file {place}: check the name"
    if isinstance(problem, IsADirectoryError):
        return f"wanted a file, got the directory {place}: name a file in it"
    return f"cannot read {place} ({reason}): check the name and its permissions"


def _kind(mode: int) -> str:
    """Return what stands in the place of a regular file."""
    kinds = ((stat.S_ISFIFO, "the pipe"), (stat.S_ISDIR, "the directory"))
    return next((name for test, name in kinds if test(mode)), "the device or socket")
