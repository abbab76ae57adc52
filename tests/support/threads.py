"""Threads that start together and are made to take turns every few microseconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")

SWITCH_S = 1e-5
"""How often Python lets another thread go on; 5 ms by default."""


@contextmanager
def switching(seconds: float = SWITCH_S) -> Iterator[None]:
    """Let threads take turns as often as this."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def together(works: Sequence[Callable[[], T]], rounds: int = 1) -> list[list[T]]:
    """Do all works at once, one a thread, so many times.

    Returns:
        What each of them returned, round by round.

    Raises:
        Exception: Whatever a work raises.
    """
    barrier = Barrier(len(works))

    def begin(work: Callable[[], T]) -> T:
        barrier.wait()
        return work()

    with switching(), ThreadPoolExecutor(len(works)) as pool:
        return [list(pool.map(begin, works)) for _ in range(rounds)]
