"""What the machine is like during a recording: sampled between pieces and kept as columns."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from adadecode.engine.runtime.distributed import is_first, processes
from adadecode.engine.runtime.environment import EnergyMeter
from adadecode.engine.runtime.sealed_lines import SealedLines

EVERY_S = 2.0
"""Seconds: pieces that end sooner after the last sample are not sampled."""
FILE = "conditions.jsonl"

COLUMNS = (
    "session",
    "piece",
    "seconds",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "temperature_c",
    "power_w",
    "energy_j",
    "cpu_mhz",
    "load",
    "others",
)
"""The columns of the manifest's conditions; those that the machine hides are left out.

====================  =======================================================================
``session``           which resumption of the recording, from 0 on
``piece``             the piece that had just been made; empty before the first
``seconds``           since the session began
``sm_clock_mhz``      clock of the GPU's multiprocessors
``memory_clock_mhz``  clock of the GPU's memory
``temperature_c``     temperature of the GPU
``power_w``           power that the GPU draws
``energy_j``          joules of the GPU since the session began
``cpu_mhz``           mean clock of all processors
``load``              the system's load over a minute
``others``            processors that other programs kept busy since the last sample
====================  =======================================================================
"""


class Conditions:
    """Samples of one recording, appended to a file in its folder by the first process only.

    Args:
        folder: The folder of the recording.
        meter: The GPU's energy counter.
        recording: What tells the recording from others; lines of another one do not count.
    """

    def __init__(self, folder: Path, meter: EnergyMeter, recording: str = "") -> None:
        self.meter = meter
        self.session, self.began, self.latest = 0, time.monotonic(), -math.inf
        self.joules, self.busy = meter.joules(), busy_seconds()
        self.kept = SealedLines(folder / FILE, recording) if is_first() else None

    def begin(self) -> None:
        """Begin a session with a sample."""
        if self.kept is not None:
            self.session = 1 + max((line["session"] for line in self._lines()), default=-1)
            self._sample("")

    def after(self, piece: str, fallbacks: list[str], *, last: bool = False) -> None:
        """Sample after a piece, where it is time, and keep new fallbacks.

        Args:
            piece: The piece that was made.
            fallbacks: Why something now runs in another way than was requested.
            last: Whether to sample in any case.
        """
        if self.kept is None:
            return
        for why in set(fallbacks) - set(self.fallbacks()):
            self._append({"fallback": why})
        if last or time.monotonic() - self.latest >= EVERY_S:
            self._sample(piece)

    def timed(self, how: str) -> None:
        """Keep how something was timed, once a session."""
        if self.kept is not None and how not in (
            line.get("timing") for line in self._lines() if line["session"] == self.session
        ):
            self._append({"timing": how})

    def timings(self) -> list[str]:
        """Return how things were timed in all sessions, each way once, in order."""
        return list(dict.fromkeys(line["timing"] for line in self._lines() if "timing" in line))

    def fallbacks(self) -> list[str]:
        """Return the fallbacks of all sessions, each once, in order."""
        return list(dict.fromkeys(line["fallback"] for line in self._lines() if "fallback" in line))

    def columns(self) -> dict[str, list[Any]]:
        """Return the samples of all sessions by column, None where a sample lacks one.

        Columns that all samples lack are left out.
        """
        lines = [line for line in self._lines() if "piece" in line]
        return {
            name: [line.get(name) for line in lines]
            for name in COLUMNS
            if any(line.get(name) is not None for line in lines)
        }

    def _sample(self, piece: str) -> None:
        now, before = time.monotonic(), self.busy
        sample = {key: value for key, value in self.meter.describe().items() if key in COLUMNS}
        energy, self.busy = self.meter.joules() - self.joules, busy_seconds()
        if not math.isnan(energy):
            sample["energy_j"] = round(energy, 3)
        sample |= processor()
        if before is not None and self.busy is not None and math.isfinite(self.latest):
            sample["others"] = round(max(0.0, self.busy - before) / max(1e-3, now - self.latest), 2)
        self.latest = now
        self._append({"piece": piece, "seconds": round(now - self.began, 3), **sample})

    def _append(self, line: dict[str, Any]) -> None:
        if self.kept is not None:
            self.kept.add({"session": self.session, **line})

    def _lines(self) -> list[dict[str, Any]]:
        """Return what was kept; a line that was torn by a kill, or changed, is left out."""
        lines = [] if self.kept is None else self.kept.documents
        return [
            line
            for line in lines
            if type(line.get("session")) is int
            and all(isinstance(line.get(key, ""), str) for key in ("piece", "timing", "fallback"))
        ]


def processor() -> dict[str, float]:
    """Return the processors' clock (MHz) and the system's load, as far as they are known."""
    found: dict[str, float] = {}
    try:
        import psutil

        if (clock := psutil.cpu_freq()) is not None and clock.current:
            found["cpu_mhz"] = round(clock.current)
    except (ImportError, OSError, NotImplementedError, RuntimeError):
        pass  # a virtual machine may hide its clock
    if hasattr(os, "getloadavg"):
        found["load"] = round(os.getloadavg()[0], 2)
    return found


def busy_seconds() -> float | None:
    """Return the processor seconds of other programs, up to a constant; None where unknown."""
    try:
        import psutil
    except ImportError:
        return None
    times = psutil.cpu_times()._asdict()
    idle = sum(
        times.get(name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice")
    )  # time of guests is counted as the user's too
    own = sum(os.times()[:2]) * processes()
    return float(sum(times.values()) - idle - own)
