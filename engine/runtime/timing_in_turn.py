"""Several ways to do one thing, timed in turn, so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Key = TypeVar("Key")


def least_seconds(ways: Mapping[Key, Callable[[], object]], laps: int) -> dict[Key, float]:
    """Return the least seconds of each way.

    Args:
        ways: What is timed, by a key.
        laps: How often each is timed.
    """
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(laps):
        for key, run in ways.items():
            begun = time.perf_counter()
            run()
            found[key] = min(found[key], time.perf_counter() - begun)
    return found
