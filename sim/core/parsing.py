"""Parse the numbers, lists and maps that users type. Every command reads them here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adadecode.profiles.errors import DesignError, InputError


def numbers(option: str, text: str) -> list[float]:
    """Parse one or more numbers separated by commas, in the order given.

    Args:
        option: Name of the option, for the message.
        text: What the user typed.

    Raises:
        InputError: If a part is not a number, or there is none.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"wanted {option} as numbers separated by commas, like 0.5,0.75, got {text!r}"
        ) from None


def integers(option: str, text: str) -> list[int]:
    """Parse one or more whole numbers separated by commas, in the order given.

    Args:
        option: Name of the option, for the message.
        text: What the user typed.

    Raises:
        InputError: If a part is not a whole number, or there is none.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"wanted {option} as whole numbers separated by commas, like 4,8, got {text!r}"
        ) from None


def rising_integers(option: str, text: str) -> tuple[int, ...]:
    """Parse one or more whole numbers from 1 on, separated by commas, and sort them.

    Raises:
        InputError: If a part is not a whole number, if one is below 1, or if there is none.
    """
    found = integers(option, text)
    if min(found) < 1:
        raise InputError(f"wanted {option} as numbers from 1 on, got {text!r}")
    return tuple(sorted(found))


def parse_head_map(text: str) -> dict[int, int]:
    """Parse the value of ``--map``: ``3:8,7:16`` puts the head at depth 3 at depth 8, and 7 at 16.

    Returns:
        The new depth of each head, by its recorded depth.

    Raises:
        DesignError: If the text has another form, or names a head twice.
    """
    try:
        pairs = [
            (int(head), int(depth)) for head, depth in (pair.split(":") for pair in text.split(","))
        ]
    except ValueError:
        raise DesignError(
            f"wanted --map as DEPTH:DEPTH,DEPTH:DEPTH, like 3:8,7:16, got {text!r}"
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise DesignError(f"--map names a head twice: {text}; give each head one depth")
    return dict(pairs)


def scale_head_map(depths: Sequence[int], n_layers: int, target_layers: int) -> str:
    """Return the ``--map`` that puts heads at the same share of a model of another depth.

    Where several heads would share a depth, the deepest of them keeps it.

    Args:
        depths: Depths of the heads in the model they were recorded on, rising.
        n_layers: Layers of that model.
        target_layers: Layers of the model they are mapped to.
    """
    heads = {
        min(max(1, round(depth * target_layers / n_layers)), target_layers - 1): depth
        for depth in depths
    }
    return ",".join(f"{head}:{depth}" for depth, head in heads.items())


def percentage(option: str, text: str) -> float:
    """Parse a percentage with its sign, such as ``5%``, and return it as a share (0.05).

    A number without the sign is refused, because ``5`` may mean 5 % or 500 %.

    Raises:
        InputError: If the sign is missing, or the number is negative or not finite.
    """
    number = text.strip().removesuffix("%").strip()
    try:
        percent = float(number)
    except ValueError:
        percent = math.nan
    if not (math.isfinite(percent) and percent >= 0):
        raise InputError(f"wanted {option} as a percentage from 0% on, like 5%, got {text!r}")
    if not text.strip().endswith("%"):
        hint = f"type {number}%"
        if 0 < percent <= 1:
            hint = f"type {percent * 100:g}% for a share of {number}, or {number}%"
        raise InputError(f"wanted {option} as a percentage with its sign, got {text!r}: {hint}")
    return percent / 100


def finite(option: str, value: float, low: float | None = None, high: float | None = None) -> float:
    """Return a number that is finite and lies in a range.

    Args:
        option: Name of the option, for the message.
        value: The number to check.
        low: Smallest value allowed, itself included; no bound by default.
        high: Largest value allowed, itself included; no bound by default.

    Raises:
        InputError: If the number is NaN, infinite or outside the range.
    """
    if math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high):
        return value
    if low is not None and high is not None:
        bounds = f"a number in [{low:g}, {high:g}]"
    elif low is not None:
        bounds = f"a finite number from {low:g} on"
    elif high is not None:
        bounds = f"a finite number up to {high:g}"
    else:
        bounds = "a finite number"
    raise InputError(f"wanted {option} as {bounds}, got {value}")
