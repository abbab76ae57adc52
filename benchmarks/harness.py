"""What the benchmarks share: timing in turn, ratios with their spread, tables, and result files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from adadecode.engine.runtime.environment import describe_software
from adadecode.profiles.atomic_write import write_json
from adadecode.profiles.host import describe_host

RESULTS = Path(__file__).parent / "results"
PROFILE = Path("profiles/recorded/demo-cpu")
"""The committed recording of the demo model."""


def in_turn(
    jobs: Mapping[str, Sequence[Callable[[], Any]]], repeats: int, seed: int = 0
) -> dict[str, list[float]]:
    """Time jobs in turn, part by part, so that a machine that slows down slows them all.

    The first two parts of each job are run once before anything is timed. The order of the jobs
    changes with every part.

    Args:
        jobs: By name, the parts of a job: one a prompt, the same number for all jobs.
        repeats: How often each part is timed.
        seed: Of the orders.

    Returns:
        By name, the seconds of the whole job in each repeat.
    """
    totals: dict[str, list[float]] = {name: [] for name in jobs}
    parts = len(next(iter(jobs.values())))
    order = random.Random(seed)
    for part in range(min(2, parts)):
        for job in jobs.values():
            job[part]()
    for _ in range(repeats):
        seconds = dict.fromkeys(jobs, 0.0)
        for part in range(parts):
            for name in order.sample(list(jobs), len(jobs)):
                began = time.perf_counter()
                jobs[name][part]()
                seconds[name] += time.perf_counter() - began
        for name, spent in seconds.items():
            totals[name].append(spent)
    return totals


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Return the median, lowest and highest of ``over / under``, repeat by repeat."""
    ratios = np.asarray(over) / np.asarray(under)
    return {
        "median": float(np.median(ratios)),
        "min": float(ratios.min()),
        "max": float(ratios.max()),
    }


def describe_ratio(ratio: Mapping[str, float] | None) -> str:
    """Return what `ratio` found as a table's cell: median (lowest .. highest); empty for None."""
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} .. {ratio['max']:.2f})"


def make_table(title: str | None, *headings: str, words: Collection[str] = ()) -> Table:
    """Return an empty table.

    Args:
        title: Above the table, at its left.
        headings: Of the columns.
        words: Headings of the columns that hold words, at the left of their columns; numbers are at
            the right.
    """
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in words else "right")
    return table


def write_result(name: str, result: Mapping[str, Any]) -> None:
    """Write a result to ``results/NAME.json``, with the machine, the versions and the time."""
    origin = {
        "machine": describe_host(),
        "software": describe_software(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    write_json(RESULTS / f"{name}.json", {**result, **origin})
