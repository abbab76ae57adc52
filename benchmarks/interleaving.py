"""Compare a finer order of latencies and runs with the usual one while the machine changes speed.

The demo model is recorded with the coarse and the fine order in turn (see `Interleaving`), under
an artificial load: processes that work for every other minute. Both orders meet the same phases of
the load. The errors of predicted times and speedups, and their noise floors, are reported for both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from adadecode.engine.cli.demo import OPTIONS, SOURCE
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo import load_demo
from adadecode.engine.profiling.plan import Interleaving, RecordingPlan, make_plan
from adadecode.engine.profiling.recorder import record_plan
from adadecode.sim.validation.tiers import validate
from benchmarks.harness import make_table, write_result

ERRORS = ("time_error", "time_noise", "speedup_error", "speedup_noise")

LOAD = """
import sys, time
import numpy as np
period, offset = float(sys.argv[1]), float(sys.argv[2])
matrix = np.ones((512, 512), dtype=np.float32)
began = time.monotonic() - offset
while True:
    if int((time.monotonic() - began) / period) % 2:
        matrix @ matrix
    else:
        time.sleep(0.05)
"""
"""Works in every other period; the offset is how far into the first, idle one it begins."""


@dataclass(frozen=True, kw_only=True)
class RecordingErrors:
    """The errors of one recording, in shares, and how long it took."""

    order: str
    offset_s: float
    seconds: float
    busy: float | None
    time_error: float | None
    time_noise: float | None
    speedup_error: float | None
    speedup_noise: float | None


@contextmanager
def artificial_load(workers: int, period_s: float, offset_s: float) -> Iterator[None]:
    """Run processes that work for every other period.

    Args:
        workers: How many processes, of one thread each.
        period_s: Seconds of a period.
        offset_s: How far into the first period, an idle one, the load begins.
    """
    command = [sys.executable, "-c", LOAD, str(period_s), str(offset_s)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    load = [
        subprocess.Popen(command, env={**os.environ, **one_thread})  # noqa: S603  # this Python
        for _ in range(workers)
    ]
    try:
        yield
    finally:
        for process in load:
            process.kill()
            process.wait()


def record_once(
    decoder: AdaDecoder, plan: RecordingPlan, folder: Path, offset_s: float
) -> RecordingErrors:
    """Record a plan, and compare the recording with the simulator.

    Args:
        decoder: The demo model with its heads.
        plan: What is recorded, and in which order.
        folder: An empty folder.
        offset_s: The phase of the load when recording begins.
    """
    began = time.monotonic()
    profile = record_plan(decoder, plan, folder / "profile", resume=False)
    seconds = time.monotonic() - began
    trust = validate(profile).trust
    return RecordingErrors(
        order=str(plan.interleaving),
        offset_s=offset_s,
        seconds=seconds,
        busy=trust.busy,
        **{name: getattr(trust, name) for name in ERRORS},
    )


def median_of(rows: list[RecordingErrors], name: str) -> float | None:
    """Return the median of an error over recordings, None where none has it."""
    values = [value for row in rows if (value := getattr(row, name)) is not None]
    return statistics.median(values) if values else None


def main(arguments: list[str] | None = None) -> None:
    """Record in both orders in turn, and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4, help="recordings in each order")
    parser.add_argument("--limit", type=int, default=8, help="prompts of a recording")
    parser.add_argument("--period-s", type=float, default=60.0, help="seconds of work, then rest")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes of the load"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo, console = load_demo(), Console()
    decoder = AdaDecoder(demo.model, demo.heads)
    recording = replace(OPTIONS, limit=options.limit)
    plan = make_plan(decoder, demo.tokenizer, demo.examples, recording, source=SOURCE)
    found: dict[Interleaving, list[RecordingErrors]] = {order: [] for order in Interleaving}
    for repeat in range(options.repeats):
        offset_s = 2 * options.period_s * repeat / options.repeats
        # The order that comes first changes, so that neither is always the warmer one.
        for order in sorted(Interleaving, reverse=bool(repeat % 2)):
            with (
                tempfile.TemporaryDirectory() as folder,
                artificial_load(options.workers, options.period_s, offset_s),
            ):
                errors = record_once(
                    decoder, replace(plan, interleaving=order), Path(folder), offset_s
                )
            found[order].append(errors)
            console.print(
                f"{order}, phase {offset_s:.0f} s: {errors.seconds:.0f} s, "
                + ", ".join(f"{name} {_percent(getattr(errors, name))}" for name in ERRORS)
            )
    table = make_table(
        f"{options.repeats} recordings in each order, median", "order", *ERRORS, words=("order",)
    )
    for order, rows in found.items():
        table.add_row(str(order), *(_percent(median_of(rows, name)) for name in ERRORS))
    console.print(table)
    write_result(
        "interleaving",
        {
            "recordings": options.repeats,
            "prompts": options.limit,
            "repeats_of_runs": plan.repeats,
            "load": {"workers": options.workers, "period_s": options.period_s},
            "orders": {
                str(order): {
                    "median": {name: median_of(rows, name) for name in (*ERRORS, "seconds")},
                    "recordings": [asdict(row) for row in rows],
                }
                for order, rows in found.items()
            },
        },
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    main()
