"""What the machine was like while a profile was recorded: clocks, temperature, power, and what else kept it busy; in words, with warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adadecode.profiles.store import Profile

FALL = 0.1
"""A clock that falls by more than this share of its highest is worth a warning."""
BUSY = 0.5
"""So is a machine of which others kept more than this share of the processors busy, in the median."""

_SAID = (
    ("sm_clock_mhz", "clock", "MHz", ".0f"),
    ("temperature_c", "temperature", "C", ".0f"),
    ("power_w", "power", "W", ".0f"),
    ("cpu_mhz", "processor clock", "MHz", ".0f"),
    ("load", "load", "", ".1f"),
    ("others", "processors kept busy by others", "", ".1f"),
)


def conditions_of(profile: Profile) -> list[str]:
    """One line of ranges, and a warning each for what may have bent the timings; nothing where the profile does not tell."""
    told = profile.manifest.get("conditions")
    if not isinstance(told, Mapping):
        return []
    columns = {name: _numbers(told.get(name)) for name, *_ in _SAID}
    ranges = [
        f"{words} {min(numbers):{form}}{'' if min(numbers) == max(numbers) else f' to {max(numbers):{form}}'} {unit}".strip()
        for name, words, unit, form in _SAID
        if (numbers := columns[name])
    ]
    if not ranges:
        return []
    return [f"while recording: {', '.join(ranges)}", *_warnings(columns, profile.manifest)]


def _warnings(columns: Mapping[str, Sequence[float]], manifest: Mapping[str, Any]) -> list[str]:
    found = []
    clocks = columns["sm_clock_mhz"]
    if clocks and min(clocks) < (1 - FALL) * max(clocks):
        found.append(
            f"warning: the clock fell by {1 - min(clocks) / max(clocks):.0%} while recording, and latencies may differ by as much: lock it, or cool the device"
        )
    hardware = manifest.get("hardware") or {}
    threads = ((hardware.get("before") or {}).get("host") or {}).get("threads")
    others = columns["others"]
    if others and threads and (share := float(np.median(others)) / threads) > BUSY:
        found.append(
            f"warning: others kept {share:.0%} of the processors busy while recording: latencies may be too long, record on an idle machine"
        )
    return found


def _numbers(column: object) -> list[float]:
    """The finite numbers of a column, which may have gaps."""
    if not isinstance(column, list):
        return []
    return [
        float(x)
        for x in column
        if isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)
    ]
