"""Changes of JSON and JSON lines: values, keys and nesting."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from scripts.fuzz.values import DEEP, VALUES, value_of

_AGAIN = "\0again\0"
"""Ends a key that is to be written twice."""

FACTORS = (-1, 1e-3, 0.5, 0.999, 1.001, 2, 1e3, 1e9)


def load(data: bytes, name: str) -> Any:  # noqa: ANN401 - JSON holds any value
    """Return the value of a file; of JSON lines a list."""
    text = data.decode("utf-8", "surrogatepass")
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return json.loads(text)


def dump(value: Any, name: str) -> bytes:  # noqa: ANN401 - JSON holds any value
    """Return the bytes of a file that holds a value."""
    if name.endswith(".jsonl"):
        return b"".join(_bytes(line) + b"\n" for line in value)
    return _bytes(value)


def _bytes(value: Any) -> bytes:  # noqa: ANN401 - JSON holds any value
    text = json.dumps(value).replace(json.dumps(VALUES["deep"]), "[" * DEEP + "]" * DEEP)
    return text.replace(json.dumps(_AGAIN)[1:-1], "").encode()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    """Yield the way to every value within a value."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield (*at, key)
        yield from places(inner, (*at, key))


def draw(source: random.Random, value: Any) -> tuple[str, tuple[Any, ...], Any] | None:  # noqa: ANN401
    """Draw a change: its name, where, and the value's name; None where there is no place."""
    ways = list(places(value))
    if not ways:
        return None
    # Long lists are alike: a short way is as likely as the many of one list.
    depth = source.choice(sorted({len(way) for way in ways}))
    at = source.choice([way for way in ways if len(way) == depth])
    change = source.choice(["set"] * 6 + ["scale", "scale", "delete", "rename", "twice", "repeat"])
    named = None
    if change == "set":
        named = source.choice(list(VALUES))
    if change == "scale":
        named = source.choice(FACTORS)
    return f"json {change}", at, named


def apply(change: str, value: Any, at: tuple[Any, ...], named: Any) -> None:  # noqa: ANN401
    """Change a value in place.

    Raises:
        LookupError: If there is no such place; TypeError or AttributeError where it is another
            kind of value.
    """
    owner = value
    for key in at[:-1]:
        owner = owner[key]
    key, kind = at[-1], change.removeprefix("json ")
    old = owner[key]
    if kind == "set":
        owner[key] = value_of(named)
    elif kind == "scale":
        owner[key] = old * named if isinstance(old, (int, float)) else value_of("nan")
    elif kind == "delete":
        del owner[key]
    elif kind == "rename":
        owner[f"{key}_"] = owner.pop(key)
    elif kind == "twice" and isinstance(owner, dict):
        owner[f"{key}{_AGAIN}"] = None
    else:
        owner[key] = [*old, *old[-1:]] if isinstance(old, list) else [old, old]
