"""Progress of long work: a bar on a terminal, and now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from adadecode.sim.cli.say import say
from adadecode.sim.core.shown_text import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_SECONDS = 30.0
"""Most seconds between two lines of progress."""

LINE_SHARE = 0.1
"""Most of the work between two lines of progress."""

ROUNDING = 1e-9
"""By how much a sum of tenths may fall short of a tenth."""

SETTLED_SECONDS = 2.0
"""Seconds of work before the time left is estimated: the first parts tell little of the others."""


class ShowProgress(Protocol):
    """What long work calls with how much is done, and of how much."""

    def __call__(self, done: int, total: int) -> None:
        """Show that so much is done."""


class ShowStages(Protocol):
    """What long work in stages calls with a stage, how much of it is done, and of how much."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that so much of a stage is done."""


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


def _print(line: str) -> None:
    """Print a line on stderr."""
    say(line, stderr=True)


@dataclass(kw_only=True)
class ProgressLines:
    """Progress as plain lines, every tenth of the work or every half minute, and at the end.

    Attributes:
        noun: What is counted, like "designs"; may be empty.
        stage: What is done, for work in several stages; empty for other work. A stage has a line
            at its beginning, and none for every tenth: many stages take a few seconds each.
        write: Prints a line, by default on stderr.
        left: The estimate of the time left.
    """

    noun: str = ""
    stage: str = ""
    write: Callable[[str], None] = _print
    left: TimeLeft = field(default_factory=TimeLeft)
    _last_time: float | None = None
    _last_share: float = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Print a line where one is due."""
        now = _now()
        seconds_left = self.left.estimate(done, total, now)
        share = done / total if total else 1.0
        first = self._last_time is None
        if self._last_time is None:
            self._last_time = now
        due = (
            (first if self.stage else share - self._last_share >= LINE_SHARE - ROUNDING)
            or now - self._last_time >= LINE_SECONDS
            or (done >= total and share > self._last_share)
        )
        if not due:
            return
        self._last_time, self._last_share = now, share
        counted = f"{done:,} of {total:,} {self.noun}".rstrip()
        name = f"{self.stage}: " if self.stage else ""
        self.write(f"{name}{counted} ({share:.0%}){_words(seconds_left, done, total)}")


def _words(seconds: float | None, done: int, total: int) -> str:
    """Return the time left, as it follows what is done."""
    return "" if seconds is None or done >= total else f", {duration(seconds)} left"


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
    from adadecode.sim.cli.plain_console import PlainConsole

    with _bars(PlainConsole(stderr=True), transient=True) as bars:
        show = _Stages(bars)
        yield lambda done, total: show(noun, done, total)


@contextmanager
def showing_stages(console: Console) -> Iterator[ShowStages]:
    """Show the progress of each stage while the block runs: bars on a terminal, lines elsewhere.

    Args:
        console: Where progress is shown; nothing is shown where it is quiet.
    """
    if not console.is_terminal:
        lines: dict[str, ProgressLines] = {}

        def write(line: str) -> None:
            console.print(shown(line), highlight=False, soft_wrap=True, markup=False)

        def show(stage: str, done: int, total: int) -> None:
            if stage not in lines:
                lines[stage] = ProgressLines(stage=stage, write=write)
            lines[stage](done, total)

        yield show
        return
    with _bars(console) as bars:
        yield _Stages(bars)


def _bars(console: Console, *, transient: bool = False) -> Progress:
    """Return a display of bars with what is counted, how much is done, and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=transient,
        disable=console.quiet,
    )


class _Stages:
    """A bar for each stage, from when it begins."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.begun: dict[str, tuple[TaskID, TimeLeft]] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.begun:
            self.begun[stage] = self.bars.add_task(stage, total=total, left=""), TimeLeft()
        task, left = self.begun[stage]
        words = _words(left.estimate(done, total), done, total).removeprefix(", ")
        self.bars.update(task, completed=done, total=total, left=words)
