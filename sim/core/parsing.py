"""Parse the lists and maps that users type."""

from __future__ import annotations

from collections.abc import Sequence

from adadecode.profiles.errors import DesignError, InputError


def numbers(option: str, words: str, kind: type[int | float]) -> list[float]:
    """Numbers between commas; none of an empty string. Raises DesignError."""
    try:
        return [kind(word) for word in words.split(",")] if words.strip() else []
    except ValueError:
        wanted = "whole numbers" if kind is int else "numbers"
        raise DesignError(f"wanted {wanted} between commas as {option}, got {words!r}") from None


def map_of(words: str) -> dict[int, int]:
    """Heads and where they stand, from ``3:8,7:16``."""
    try:
        pairs = [
            (int(head), int(place))
            for head, place in (pair.split(":") for pair in words.split(","))
        ]
    except ValueError:
        raise DesignError(
            f"wanted --map as DEPTH:DEPTH,DEPTH:DEPTH, like 3:8,7:16, got {words!r}"
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise DesignError(f"a head stands in one place, --map names one twice: {words}")
    return dict(pairs)


def in_proportion(depths: Sequence[int], had: int, has: int) -> str:
    """As --map takes it; of heads that would stand in one place, the deepest."""
    places = {min(max(1, round(depth * has / had)), has - 1): depth for depth in depths}
    return ",".join(f"{depth}:{place}" for place, depth in places.items())


def integers(text: str, option: str) -> tuple[int, ...]:
    """A comma list of positive integers, rising. Raises InputError."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"wanted {option} as whole numbers with commas, like 4,8, got {text!r}"
        ) from None
    if min(numbers) < 1:
        raise InputError(f"wanted {option} as numbers from 1 on, got {text!r}")
    return tuple(sorted(numbers))
