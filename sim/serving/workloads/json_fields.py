"""Fields of the objects of JSON files, as numbers; NaN for what is no number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import parse_json
from adadecode.sim.core.scalars import real_number, whole_number

Fields = Mapping[str, Any]


def json_lines(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the objects of a JSON Lines file, each with its line.

    Args:
        text: The file.
        where: Its name, for messages.

    Raises:
        InputError: If a line is no object of JSON.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        found = parse_json(line, f"line {number} of {where}")
        if not isinstance(found, dict):
            raise InputError(
                f"wanted an object in line {number} of {where}, got {line.strip()[:60]!r}: mend it"
            )
        yield number, found


def first_object(text: str) -> dict[str, Any] | None:
    """Return the object in the first line; None where the file is no JSON Lines."""
    line = text.lstrip().split("\n", 1)[0]
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def number_of(fields: Fields, *path: str) -> float:
    """Return the number at the end of a path of keys; NaN where there is none."""
    found = real_number(value_of(fields, *path))
    return math.nan if found is None else found


def value_of(fields: Fields, *path: str) -> Any:  # noqa: ANN401 - JSON holds any value
    """Return the value at the end of a path of keys; None where there is none."""
    found: Any = fields
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def ids_of(fields: Fields, line: int, where: str) -> tuple[int, ...]:
    """Return the ``hash_ids`` of a request. Raises InputError where they are none."""
    found = fields.get("hash_ids")
    ids = [whole_number(one) for one in found] if isinstance(found, list) else [None]
    if not all(one is not None and 0 <= one < 2**53 for one in ids):
        raise InputError(
            f"wanted hash_ids as a list of whole numbers from 0 on in line {line} of {where}, got "
            f"{str(found)[:60]}: mend it"
        )
    return tuple(one for one in ids if one is not None)
