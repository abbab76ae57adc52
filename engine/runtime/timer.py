"""A clock for work in place: the host's on a CPU, events on a GPU, also within CUDA graphs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch


def synchronized_now(*devices: torch.device) -> float:
    """Return seconds of a monotonic clock once these devices have done all they were given."""
    for device in devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter()


class Clock:
    """Marks moments and gives the seconds between consecutive marks.

    On one GPU marks are CUDA events, so that marking waits for nothing. Several devices have no
    stream in common: there the host marks once all have done what they were given. Marks may stand
    within a graph (`replayed`). Its next replay overwrites them, so they must have been read by
    then (`settle`).

    Args:
        *devices: The devices that work.
    """

    def __init__(self, *devices: torch.device) -> None:
        self.devices, self.device = devices, devices[0]
        self.cuda = len(devices) == 1 and self.device.type == "cuda"
        self._marks: list[Any] = []
        self._seconds: list[float] = []  # intervals that are read already
        self._carried = 0.0  # of the interval that is under way
        self._overwritten = False  # whether a replay to come overwrites one of the marks

    def mark(self) -> None:
        """Mark the end of an interval and the beginning of the next one."""
        self._marks.append(self._now())

    def replayed(self, events: Sequence[Any]) -> None:
        """Take the events of a graph that was just replayed as marks, in order.

        Call `settle` before it is replayed again.
        """
        self._marks += events
        self._overwritten = True

    def settle(self) -> None:
        """Read the marks so far, where a replay would overwrite one.

        No interval is lost, and what the reading takes is in none.
        """
        if not self._overwritten:
            return
        self._marks.append(self._now())
        *found, rest = self._read()
        self._seconds += found
        self._carried, self._overwritten = rest, False
        self._marks = [self._now()]

    def intervals(self) -> list[float]:
        """Return the seconds between the marks so far, and start afresh."""
        seconds = self._seconds + self._read()
        self._marks, self._seconds, self._carried, self._overwritten = [], [], 0.0, False
        return seconds

    def _now(self) -> Any:
        if not self.cuda:
            return synchronized_now(*self.devices)
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _read(self) -> list[float]:
        """Return the seconds between the marks that are not read yet.

        What is carried is added to the first.
        """
        if self.cuda:
            torch.cuda.synchronize(self.device)
            seconds = [a.elapsed_time(b) / 1e3 for a, b in pairwise(self._marks)]
        else:
            seconds = [b - a for a, b in pairwise(self._marks)]
        if seconds:
            seconds[0] += self._carried
        return seconds
