"""Durations as users type them: ``60s``, ``50ms``, ``2min``."""

from __future__ import annotations

import math
import re

from adadecode.profiles.errors import InputError

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
"""Seconds of each unit."""

_FORM = re.compile(r"\s*([0-9.eE+-]+)\s*([a-z]+)\s*")


def parse_duration(option: str, text: str) -> float:
    """Return a duration above 0 in seconds.

    A number without a unit is refused, because ``50`` may mean seconds or milliseconds.

    Args:
        option: Name of the option, for the message.
        text: What the user typed.

    Raises:
        InputError: If it is none.
    """
    match = _FORM.fullmatch(text)
    seconds = math.nan
    if match is not None and match[2] in UNITS:
        try:
            seconds = float(match[1]) * UNITS[match[2]]
        except ValueError:
            seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(
            f"wanted {option} as a duration with its unit ({', '.join(UNITS)}), like 60s or 50ms, "
            f"got {text!r}"
        )
    return seconds
