"""Progress of a command: bars on a terminal, and now and then a line where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY_S = 30.0
"""Seconds between two lines of progress where there is no terminal."""


class Report(Protocol):
    """Called with a stage, how many of its steps are done, and how many there are."""

    def __call__(self, stage: str, done: int, count: int) -> None:
        """Show progress."""


@contextmanager
def shown_progress(console: Console) -> Iterator[Report]:
    """Show the progress of the stages of a command.

    On a terminal each stage has a bar. Elsewhere a line is printed when a stage begins and ends,
    and every half minute in between.

    Args:
        console: Where progress is shown; nothing is where it is quiet.

    Yields:
        A function to call with a stage, how many of its steps are done, and how many there are.
    """
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=console.quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, count: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=count)
            bar.update(tasks[stage], completed=done, total=count)

        yield report


class _Lines:
    """Progress as lines, for log files."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began: dict[str, float] = {}
        self.latest = 0.0

    def __call__(self, stage: str, done: int, count: int) -> None:
        now = time.monotonic()
        first = stage not in self.began
        began = self.began.setdefault(stage, now)
        if not (first or done >= count or now - self.latest >= EVERY_S):
            return
        self.latest = now
        share = done / count if count else 1.0
        left = "" if first or not 0 < share < 1 else f", {_left(now - began, share)} left"
        self.console.print(
            f"{stage}: {done} of {count} after {now - began:.0f} s{left}",
            highlight=False,
            soft_wrap=True,
        )


def _left(spent: float, share: float) -> str:
    """Return about how long the rest takes."""
    return f"about {spent * (1 / share - 1):.0f} s"
