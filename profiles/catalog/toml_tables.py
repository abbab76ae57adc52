"""Named tables in TOML files: the catalogues of devices and of models, and the users' own files in the same form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from adadecode.profiles.errors import InputError

_Thing = TypeVar("_Thing")


def file_and_name(text: str) -> tuple[Path, str] | None:
    """Of ``FILE.toml`` or ``FILE.toml:NAME`` the file and the name, empty where none is given; None of anything else."""
    file, _, name = text.partition(".toml:")
    return (
        (Path(f"{file.removesuffix('.toml')}.toml"), name)
        if name or text.endswith(".toml")
        else None
    )


def read_tables(path: Path, missing: str, error: type[InputError]) -> dict[str, Any]:
    """The tables of a file by name. Raises ``error``, for a file that is not there with ``missing``: what to give instead."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"no file {path}: {missing}") from None
    except (OSError, ValueError) as why:
        raise error(f"cannot read {path} as TOML: {why}") from why


def pick(
    found: Mapping[str, _Thing], path: Path, name: str, what: str, error: type[InputError]
) -> _Thing:
    """The thing ``name`` of what was found in a file, or its only one. Raises ``error``; what: "device", say."""
    if not name and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        asked = f"no {what} {name!r}" if name else f"{len(found)} {what}s"
        raise error(f"{asked} in {path}: ask for {' or '.join(f'{path}:{one}' for one in found)}")
    return found[name]
