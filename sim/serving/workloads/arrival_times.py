"""When requests arrive, from a file; how long they are is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import LARGEST_TABLE, read_text
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.workloads.request_file import read_workload

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecordedTimes:
    """Arrivals that are what they are.

    Attributes:
        seconds: When requests arrive, rising; the first at 0.
        where: The file.
    """

    seconds: _Array
    where: str

    def times(
        self, _rng: np.random.Generator, count: int | None, duration_s: float | None
    ) -> _Array:
        """Return the first arrivals: all, so many, or those before a time.

        Raises:
            InputError: If there are not so many.
        """
        found = self.seconds if duration_s is None else self.seconds[self.seconds < duration_s]
        if count is not None and duration_s is None and count > len(found):
            raise InputError(
                f"wanted {count:,} arrivals, got {len(found):,} in {self.where}: give a smaller "
                "count"
            )
        return found[:count]


def read_arrival_times(path: str | Path) -> RecordedTimes:
    """Read when requests arrive.

    Args:
        path: A text with a time in seconds on each line, or a file as `read_workload` takes it.

    Raises:
        InputError: If it is neither, is empty, or runs backwards in time.
    """
    where = shown(path)
    lines = read_text(path, at_most=LARGEST_TABLE).split()
    numbers = _numbers(lines)
    if numbers is None:
        requests = read_workload(path).requests
        return RecordedTimes(np.array([one.arrival_s for one in requests]), where)
    back = np.flatnonzero(np.diff(numbers) < 0)
    if len(back):
        raise InputError(
            f"wanted arrivals in the order of time, got {numbers[back[0] + 1]:g} s after "
            f"{numbers[back[0]]:g} s in {where}: sort the file"
        )
    return RecordedTimes(numbers - numbers[0], where)


def _numbers(words: list[str]) -> _Array | None:
    """Return words as numbers; None where one of them is no finite number, or there is none."""
    try:
        found = [float(word) for word in words]
    except ValueError:
        return None
    return np.array(found) if found and all(map(math.isfinite, found)) else None
