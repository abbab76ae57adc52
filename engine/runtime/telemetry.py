"""What the machine is like while a recording goes on: sampled between pieces, kept beside them, and told by the manifest as columns."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from adadecode.engine.runtime.distributed import is_first, processes
from adadecode.engine.runtime.environment import EnergyMeter

EVERY_S = 2.0
"""Pieces that end sooner after the last sample are not sampled."""
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
"""Of the manifest, those that the machine tells.

session: which resumption of the recording, from 0 on. piece: that had just been made; empty before the first. seconds, energy_j: since the session began. cpu_mhz: the mean of
all processors. load: the system's, over a minute. others: processors that other programs kept busy since the last sample.
"""


class Conditions:
    """Samples of one recording, appended to a file in ``folder``; only the first process keeps them."""

    def __init__(self, folder: Path, meter: EnergyMeter) -> None:
        self.path, self.meter = folder / FILE, meter
        self.session, self.began, self.latest = 0, time.monotonic(), -math.inf
        self.joules, self.busy = meter.joules(), busy_seconds()
        self.kept = is_first()

    def begin(self) -> None:
        """A session begins."""
        if self.kept:
            self.session = 1 + max((line["session"] for line in self._lines()), default=-1)
            self._sample("")

    def after(self, piece: str, fallbacks: list[str], *, last: bool = False) -> None:
        """A piece was made: sample where it is time, and keep what now runs in another way than was asked for."""
        if not self.kept:
            return
        for why in set(fallbacks) - set(self.fallbacks()):
            self._append({"fallback": why})
        if last or time.monotonic() - self.latest >= EVERY_S:
            self._sample(piece)

    def timed(self, how: str) -> None:
        """Something was timed in this way: keep it, once a session."""
        if self.kept and how not in (
            line.get("timing") for line in self._lines() if line["session"] == self.session
        ):
            self._append({"timing": how})

    def timings(self) -> list[str]:
        """How things were timed in all sessions, each way once, in order."""
        return list(dict.fromkeys(line["timing"] for line in self._lines() if "timing" in line))

    def fallbacks(self) -> list[str]:
        """Of all sessions, each once, in order."""
        return list(dict.fromkeys(line["fallback"] for line in self._lines() if "fallback" in line))

    def columns(self) -> dict[str, list[Any]]:
        """The samples of all sessions, None where one lacks a column; columns that all lack are left out."""
        lines = [line for line in self._lines() if "piece" in line]
        return {
            name: [line.get(name) for line in lines]
            for name in COLUMNS
            if any(line.get(name) is not None for line in lines)
        }

    def _sample(self, piece: str) -> None:
        now, before = time.monotonic(), self.busy
        told = {key: value for key, value in self.meter.describe().items() if key in COLUMNS}
        energy, self.busy = self.meter.joules() - self.joules, busy_seconds()
        if not math.isnan(energy):
            told["energy_j"] = round(energy, 3)
        told |= processor()
        if before is not None and self.busy is not None and math.isfinite(self.latest):
            told["others"] = round(max(0.0, self.busy - before) / max(1e-3, now - self.latest), 2)
        self.latest = now
        self._append({"piece": piece, "seconds": round(now - self.began, 3), **told})

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"session": self.session, **line}) + "\n")

    def _lines(self) -> list[dict[str, Any]]:
        """What was kept; a line that was torn by a kill is left out."""
        try:
            text = self.path.read_text()
        except OSError:
            return []
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [
            line
            for line in found
            if isinstance(line, dict) and isinstance(line.get("session"), int)
        ]


def processor() -> dict[str, float]:
    """The processors' clock (MHz) and the system's load, as far as they are told."""
    told = {}
    try:
        import psutil

        if (clock := psutil.cpu_freq()) is not None and clock.current:
            told["cpu_mhz"] = round(clock.current)
    except (ImportError, OSError, NotImplementedError, RuntimeError):
        pass  # a virtual machine may hide its clock
    if hasattr(os, "getloadavg"):
        told["load"] = round(os.getloadavg()[0], 2)
    return told


def busy_seconds() -> float | None:
    """Processor seconds that other programs have taken since the machine started, up to a constant; None where it does not tell."""
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
