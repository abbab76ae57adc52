"""Describe the machine while a profile was recorded, and warn of what may have bent the timings.

The recorder samples clocks, temperature, power, load, and how many processors other programs kept
busy.
"""

from __future__ import annotations

import math

import numpy as np

from adadecode.profiles.manifest import section
from adadecode.profiles.store import Profile

FALL = 0.1
"""A clock that falls by more than this share of its highest is worth a warning."""

BUSY = 0.1
"""So is a machine where other programs kept more than this share of the processors busy."""

_COLUMNS = (
    ("sm_clock_mhz", "clock", "MHz", ".0f"),
    ("temperature_c", "temperature", "C", ".0f"),
    ("power_w", "power", "W", ".0f"),
    ("cpu_mhz", "processor clock", "MHz", ".0f"),
    ("load", "load", "", ".1f"),
    ("others", "processors kept busy by others", "", ".1f"),
)


def conditions_of(profile: Profile) -> list[str]:
    """Return one line with the ranges of what was sampled, and a line for each warning.

    Empty where the profile holds no samples.
    """
    samples = section(profile.manifest, "conditions")
    ranges = [
        f"{name} {_range(numbers, form)} {unit}".strip()
        for column, name, unit, form in _COLUMNS
        if (numbers := _numbers(samples.get(column)))
    ]
    if not ranges:
        return []
    return [f"while recording: {', '.join(ranges)}", *_warnings(profile)]


def busy_share(profile: Profile) -> float | None:
    """Return the average share of the processors that other programs kept busy while recording.

    The average, because a load that comes and goes leaves the median where it was. None where the
    profile does not hold it.
    """
    threads = section(profile.manifest, "hardware", "before", "host").get("threads")
    others = _numbers(section(profile.manifest, "conditions").get("others"))
    return float(np.mean(others)) / threads if others and threads else None


def clock_fall(profile: Profile) -> float | None:
    """Return how far the device's clock fell while recording, as a share of its highest.

    None where the profile does not hold clocks.
    """
    clocks = _numbers(section(profile.manifest, "conditions").get("sm_clock_mhz"))
    return 1 - min(clocks) / max(clocks) if clocks else None


def _range(numbers: list[float], form: str) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}"


def _warnings(profile: Profile) -> list[str]:
    found = []
    fall, busy = clock_fall(profile), busy_share(profile)
    if fall is not None and fall > FALL:
        found.append(
            f"warning: the clock fell by {fall:.0%} while recording, and latencies may differ by "
            "as much: lock it, or cool the device"
        )
    if busy is not None and busy > BUSY:
        found.append(
            f"warning: others kept {busy:.0%} of the processors busy while recording: "
            "latencies may be too long, record on an idle machine"
        )
    return found


def _numbers(column: object) -> list[float]:
    """Return the finite numbers of a column, which may have gaps."""
    if not isinstance(column, list):
        return []
    return [
        float(number)
        for number in column
        if isinstance(number, int | float)
        and not isinstance(number, bool)
        and math.isfinite(number)
    ]
