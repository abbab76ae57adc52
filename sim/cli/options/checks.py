"""How the value of one option is parsed and checked, as its annotation says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adadecode.profiles.errors import InputError
from adadecode.sim.core.parsing import finite


@dataclass(frozen=True)
class Check:
    """A check of a value that typer has parsed.

    Args:
        function: Takes the name of the option and the value; returns the value to use. Raises
            InputError. It is not called for None, which stands for an option that was left out.
    """

    function: Callable[[str, Any], Any]


@dataclass(frozen=True)
class TextCheck(Check):
    """A value that typer takes as text and ``function`` makes a value of the field's type.

    Args:
        function: As for `Check`; takes the text that the user typed.
        shown: The default as the user would type it; by default the value itself, in which the
            items of a tuple are separated by commas.
    """

    shown: str | None = None


def _filled(option: str, value: object) -> object:
    """Return a value that is no empty text. Raises InputError."""
    if isinstance(value, str) and not value.strip():
        raise InputError(f"wanted a text as {option}, got {value!r}: give one")
    return value


FILLED = Check(_filled)
"""An empty text is refused: a variable of a shell may have been empty."""


def at_least(low: int, high: int | None = None) -> Check:
    """Check that a whole number lies in a range, both ends included."""

    def check(option: str, value: int) -> int:
        if value < low or (high is not None and value > high):
            bounds = f"from {low} on" if high is None else f"in [{low}, {high}]"
            raise InputError(f"wanted {option} as a whole number {bounds}, got {value}")
        return value

    return Check(check)


def number(
    *,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> Check:
    """Check that a number is finite and in a range; ``above`` and ``below`` leave out the end."""

    def check(option: str, value: float) -> float:
        finite(option, value, low=low, high=high)
        if above is not None and not value > above:
            raise InputError(f"wanted {option} as a number above {above:g}, got {value:g}")
        if below is not None and not value < below:
            raise InputError(f"wanted {option} as a number below {below:g}, got {value:g}")
        return value

    return Check(check)
