"""Progress of long work: a bar on a terminal, and now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

LINE_SECONDS = 30.0
"""Most seconds between two lines of progress."""

LINE_SHARE = 0.1
"""Most of the work between two lines of progress."""

SETTLED_SECONDS = 2.0
"""Seconds of work before the time left is estimated: the first parts tell little of the others."""


class ShowProgress(Protocol):
    """What long work calls with how much is done, and of how much."""

    def __call__(self, done: int, total: int) -> None:
        """Show that so much is done."""


def _now() -> float:
    """Return the seconds of the monotonic clock."""
    return time.monotonic()


@dataclass(kw_only=True)
class TimeLeft:
    """An estimate of the time left, from the mean speed since the work began.

    What an earlier run had done already does not count.
    """

    started: float = field(default_factory=_now)
    done_before: int | None = None

    def estimate(self, done: int, total: int, now: float | None = None) -> float | None:
        """Return the seconds left; None while too little is done to tell.

        Args:
            done: How much is done.
            total: Of how much.
            now: The time on the monotonic clock.
        """
        if self.done_before is None:
            self.done_before = done
        elapsed = (_now() if now is None else now) - self.started
        fresh = done - self.done_before
        if done >= total:
            return 0.0
        if fresh <= 0 or elapsed < SETTLED_SECONDS:
            return None
        return elapsed / fresh * (total - done)


@dataclass(kw_only=True)
class ProgressLines:
    """Progress as plain lines on stderr, every tenth of the work or every half minute.

    Attributes:
        noun: What is counted, like "designs".
        left: The estimate of the time left.
    """

    noun: str
    left: TimeLeft = field(default_factory=TimeLeft)
    _last_time: float | None = None
    _last_share: float = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Print a line where one is due."""
        now = _now()
        seconds_left = self.left.estimate(done, total, now)
        share = done / total if total else 1.0
        if self._last_time is None:
            self._last_time = now
        due = (
            share - self._last_share >= LINE_SHARE - 1e-9  # of sums of tenths
            or now - self._last_time >= LINE_SECONDS
            or (done >= total and share > self._last_share)
        )
        if not due:
            return
        self._last_time, self._last_share = now, share
        print(
            f"{done:,} of {total:,} {self.noun} ({share:.0%}){_words(seconds_left, done, total)}",
            file=sys.stderr,
            flush=True,
        )


def _words(seconds: float | None, done: int, total: int) -> str:
    if done >= total:
        return ""
    return "" if seconds is None else f", {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a time for people: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def showing_progress(noun: str) -> Iterator[ShowProgress]:
    """Show progress on stderr while the block runs: a bar on a terminal, lines elsewhere.

    Args:
        noun: What is counted, like "designs".
    """
    if not sys.stderr.isatty():
        yield ProgressLines(noun=noun)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        TextColumn(noun),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        transient=True,
    )
    left = TimeLeft()
    with bar:
        task = bar.add_task(noun, total=None, left="")

        def show(done: int, total: int) -> None:
            seconds = left.estimate(done, total)
            words = "" if seconds is None or done >= total else f"{duration(seconds)} left"
            bar.update(task, completed=done, total=total, left=words)

        yield show
