"""One load that ``adadecode-sim serve`` or ``observe`` wrote, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import LARGEST_TABLE, is_there, read_json, read_text
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.metrics.load_metrics import measure
from adadecode.sim.serving.metrics.request_times import TIMES
from adadecode.sim.serving.metrics.summary import STATISTICS
from adadecode.sim.serving.workloads.served_file import read_served

RESULT, SERVED, OBSERVED, STEPS = "result.json", "requests.csv", "requests.jsonl", "steps.csv"

NEEDED: Mapping[str, Callable[[Any], object]] = {
    "requests": int,
    "seconds": float,
    "verdict": str,
    "reason": str,
}
"""What is said of a load, and what makes it a value of its kind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFile:
    """A load that was served.

    Attributes:
        result: The figures, as the command prints them.
        requests: A row a request, as `adadecode.sim.serving.metrics.load_metrics.LoadMetrics` has
            it.
        steps: A row a step of a simulated server; None of a real one.
    """

    result: Mapping[str, Any]
    requests: pd.DataFrame
    steps: pd.DataFrame | None

    @property
    def observed(self) -> bool:
        """Whether it was a real server."""
        return self.steps is None

    def times(self) -> pd.DataFrame:
        """Return a row for each time that is known, with its statistics in seconds."""
        rows = [
            {"time": name.removesuffix("_s"), **{one: float(found[one]) for one in STATISTICS}}
            for name in TIMES
            if (found := self.result[name]) is not None
        ]
        return pd.DataFrame(rows)


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a load that was served or observed."""
    return is_there(folder / RESULT) and any(is_there(folder / one) for one in (SERVED, OBSERVED))


def read_run(folder: Path) -> RunFile:
    """Read a load.

    Raises:
        InputError: If it cannot be read, or is not as it was written.
    """
    result = read_json(folder / RESULT)
    if is_there(folder / SERVED):
        requests = _table(folder / SERVED, ("arrival_s", "ttft_s", "tpot_s", "e2e_s"))
        steps = _table(
            folder / STEPS, ("server", "start_s", "seconds", "running", "waiting", "kv_blocks")
        )
    else:
        requests, steps = measure(read_served(folder / OBSERVED)).to_frame(), None
    run = RunFile(result=result, requests=requests, steps=steps)
    try:
        run.times()
        for name, kind in NEEDED.items():
            kind(result[name])
        float(result["throughput"]["output_tokens_per_s"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown(folder / RESULT)} is not as it was written ({error!r}): serve the load again "
            "into another directory"
        ) from None
    return run


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a table of numbers. Raises InputError where it lacks one of them."""
    text = read_text(path, at_most=LARGEST_TABLE)
    try:
        frame = pd.read_csv(StringIO(text))
        numbers = frame[list(columns)].astype(float)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"wanted the columns {', '.join(columns)} as numbers in {shown(path)}, got something "
            f"else ({str(error)[:80]}): serve the load again into another directory"
        ) from None
    if numbers.empty or numbers.drop(columns="tpot_s", errors="ignore").isna().any(axis=None):
        raise InputError(f"wanted rows without gaps in {shown(path)}, got none: serve again")
    return numbers
