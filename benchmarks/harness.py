"""What the benchmarks share: things timed in turn within one run, ratios with their spread, results kept as JSON."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adadecode.engine.runtime.environment import describe_software
from adadecode.profiles.host import describe_host

RESULTS = Path(__file__).parent / "results"
PROFILE = Path("profiles/recorded/demo-cpu")


def in_turn(
    jobs: Mapping[str, Sequence[Callable[[], Any]]], repeats: int, seed: int = 0
) -> dict[str, list[float]]:
    """Seconds of each job in each repeat. A job is a list of parts (one a prompt, the same number for all); part by part, the jobs take turns.

    The order changes with every part, so that a machine that slows down slows them all.
    """
    totals: dict[str, list[float]] = {name: [] for name in jobs}
    parts = len(next(iter(jobs.values())))
    order = random.Random(seed)
    for part in range(min(2, parts)):
        for job in jobs.values():
            job[part]()  # warm-up
    for _ in range(repeats):
        spent = dict.fromkeys(jobs, 0.0)
        for part in range(parts):
            for name in order.sample(list(jobs), len(jobs)):
                begun = time.perf_counter()
                jobs[name][part]()
                spent[name] += time.perf_counter() - begun
        for name, seconds in spent.items():
            totals[name].append(seconds)
    return totals


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Over / under, repeat by repeat: median, lowest, highest."""
    ratios = np.asarray(over) / np.asarray(under)
    return {
        "median": float(np.median(ratios)),
        "min": float(ratios.min()),
        "max": float(ratios.max()),
    }


def spread(told: Mapping[str, float] | None) -> str:
    """What `ratio` found, for a table; nothing of None."""
    return "" if told is None else f"{told['median']:.2f} ({told['min']:.2f} .. {told['max']:.2f})"


def keep(name: str, result: dict[str, Any]) -> None:
    """Write a result, with the machine and the versions it came from, to ``results/name.json``."""
    RESULTS.mkdir(exist_ok=True)
    about = {
        "machine": describe_host(),
        "software": describe_software(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps({**result, **about}, indent=1) + "\n")
