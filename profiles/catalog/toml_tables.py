"""Read named tables from TOML files: the catalogues, and users' own files in the same form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there, read_toml

_Entry = TypeVar("_Entry")


def file_and_name(text: str) -> tuple[Path, str] | None:
    """Split ``FILE.toml`` or ``FILE.toml:NAME`` into the file and the name.

    The name is empty where none is given. Return None for any other text.
    """
    file, _, name = text.partition(".toml:")
    return (
        (Path(f"{file.removesuffix('.toml')}.toml"), name)
        if name or text.endswith(".toml")
        else None
    )


def read_tables(path: Path, missing: str, error: type[InputError]) -> dict[str, Any]:
    """Return the tables of a file by name.

    Args:
        path: The file.
        missing: What to give instead, for the message where the file does not exist.
        error: The exception to raise.

    Raises:
        InputError: As ``error``, if the file is missing or holds no TOML.
    """
    if not is_there(path):
        raise error(f"no file {path}: {missing}")
    return read_toml(path, error=error)


def entries(
    path: Path, tables: Mapping[str, Any], make: Callable[[str, Any], _Entry]
) -> dict[str, _Entry]:
    """Return what the tables of a file describe, by name.

    Args:
        path: The file, for messages.
        tables: Its tables by name.
        make: Makes an entry of a name and a table.

    Raises:
        InputError: As ``make`` raises it, and with the file.
    """
    try:
        return {name: make(name, table) for name, table in tables.items()}
    except InputError as error:
        raise type(error)(f"in {path}: {error}") from error


def pick(
    found: Mapping[str, _Entry], path: Path, name: str, what: str, error: type[InputError]
) -> _Entry:
    """Return the entry with this name, or the only entry of a file.

    Args:
        found: The entries of the file by name.
        path: The file, for the message.
        name: The wanted name; empty for the only entry.
        what: What an entry is, such as "device", for the message.
        error: The exception to raise.

    Raises:
        InputError: As ``error``, if there is no such entry, or none is named among several.
    """
    if not name and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        wanted = f"no {what} {name!r}" if name else f"{len(found)} {what}s"
        raise error(f"{wanted} in {path}: give {' or '.join(f'{path}:{one}' for one in found)}")
    return found[name]
