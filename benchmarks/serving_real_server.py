"""Simulate the requests that a real vLLM server answered, and compare what each of them waited.

Times of the kernels of the card go in, and when each request was queued and how long it was.
Nothing is fitted to the requests. Also: by how much attention is missed between the points of its
table, when points are left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from adadecode.profiles.input_file import read_text
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim
from adadecode.sim.serving.latency.attention_times import SIZES, AttentionTimes
from adadecode.sim.serving.latency.found_steps import StepsWanted, find_steps
from adadecode.sim.serving.metrics import errors
from adadecode.sim.serving.request import ServedRequest
from adadecode.sim.serving.served_run import ServedRun, Server, run_server
from adadecode.sim.serving.workloads import Workload, read_served
from benchmarks.harness import make_table, write_result

DATA = Path("../shared/data/llmservingsim/RTX4090/Llama-3.1-8B")

STATISTICS = ("mean", "p50", "p90", "p99")
TIMES = ("ttft_s", "tpot_s", "e2e_s")
MOST_TRIED = 1500
"""Largest number of left-out points to predict. Of more, a sample is drawn with a fixed seed."""


def simulate(
    profile: Profile,
    measured: tuple[ServedRequest, ...],
    blocks: int | None,
    *,
    unequal: bool | None = None,
) -> ServedRun:
    """Serve the requests again.

    Args:
        profile: The times of the kernels.
        measured: The requests, as they were served.
        blocks: Blocks of keys and values of the server; None for what its memory should hold.
        unequal: Whether sequences of unequal lengths take more than equal ones; None for what the
            profile says.
    """
    workload = Workload(requests=tuple(one.request for one in measured), source="measured")
    return run_server(
        profile,
        workload,
        Server(kv_blocks=blocks),
        unequal_contexts=unequal,
        against=measured,
        keep_steps=True,
    )


def row_of(run: ServedRun, series: pd.DataFrame) -> dict[str, Any]:
    """Return the errors of a run, and how far counts lie from those of the server."""
    assert run.measured is not None
    missed = errors(run.metrics, run.measured)
    return {
        "errors": {time: {one: missed[time][one] for one in STATISTICS} for time in TIMES},
        "steps": run.load.n_steps,
        "preemptions": run.metrics.preemptions,
        "cached_share": run.load.hit_share,
        "counts": counts_of(run, series),
    }


def counts_of(run: ServedRun, series: pd.DataFrame) -> dict[str, float]:
    """Return the mean difference of what runs and waits, at every second of the measured run."""
    steps = pd.DataFrame(run.load.steps)
    at = np.searchsorted(steps["start_s"].to_numpy(), series["t"].to_numpy(), side="right") - 1
    blocks = 100 * steps["kv_blocks"].to_numpy()[at] / run.settings.usable_blocks
    return {
        "running": _away(steps["running"].to_numpy()[at], series["running"]),
        "waiting": _away(steps["waiting"].to_numpy()[at], series["waiting"]),
        "kv_percent": _away(blocks, series["kv_cache_pct"]),
    }


def _away(ours: Any, theirs: pd.Series[float]) -> float:  # noqa: ANN401  an array of any numbers
    return float(np.abs(ours - theirs.to_numpy()).mean())


def left_out(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield how far attention is missed where points of its table are left out.

    Args:
        rows: Rows of the kind ``attention``.
    """
    for name in SIZES:
        marks = sorted(one for one in rows[name].unique().tolist() if one > 0)
        out = rows[name].isin(marks[1:-1:2])
        yield _missed(f"every second mark of {name}", rows, out)
    mixed = (rows["chunk"] > 0) & (rows["n_decode"] > 0)
    sparse = {
        "mixed steps: only without cached positions": rows["cached"] == 0,
        "mixed steps: only two chunks beside two numbers of sequences": rows["chunk"].isin(
            [256, 2048]
        )
        & rows["n_decode"].isin([8, 64]),
        "mixed steps: one in a hundred": pd.Series(
            np.random.default_rng(0).random(len(rows)) < 0.01, index=rows.index
        ),
    }
    for name, kept in sparse.items():
        yield _missed(name, rows, mixed & ~kept)


def _missed(name: str, rows: pd.DataFrame, out: pd.Series[bool]) -> dict[str, Any]:
    times = AttentionTimes.of(rows[~out])
    tried = rows[out]
    if len(tried) > MOST_TRIED:
        tried = tried.sample(MOST_TRIED, random_state=0)
    predicted = np.array([times.at(*sizes) for sizes in tried[SIZES].to_numpy(dtype=np.float64)])
    error = predicted / tried["seconds"].to_numpy() - 1
    return {
        "left_out": name,
        "points": len(tried),
        "bias": float(error.mean()),
        "median": float(np.median(np.abs(error))),
        "p90": float(np.quantile(np.abs(error), 0.9)),
    }


def compare(data: Path) -> dict[str, Any]:
    """Return the result for one folder: a card and a model."""
    meta: Mapping[str, Any] = json.loads(read_text(data / "vllm/meta.json"))
    blocks = int(meta["kv_cache"]["num_gpu_blocks"])
    measured = read_served(data / "vllm/requests.jsonl", workload=data / "vllm/workload.jsonl")
    series = pd.read_csv(data / "vllm/timeseries.csv")
    with tempfile.TemporaryDirectory() as folder:
        profile = import_llmservingsim(data, Path(folder) / "p")
        attention = profile.serving[profile.serving["kind"] == "attention"]
        rows = {
            name: row_of(simulate(profile, measured, blocks, unequal=unequal), series)
            for name, unequal in (("equal", False), ("unequal", True))
        }
        wanted = StepsWanted(context=1, prompt=1, tokens=1, unequal_contexts=True)
        rule = find_steps(profile, wanted).price.unequal.error
        memory = simulate(profile, measured, None)
        rows["memory"] = row_of(memory, series)
    return {
        "model": meta["model"],
        "device": meta["hardware"]["device_name"],
        "vllm": meta["vllm_version"],
        "requests": len(measured),
        "kv_blocks": blocks,
        "kv_blocks_of_memory": memory.settings.kv_blocks,
        "as_imported": "unequal" if profile.manifest["settings"]["unequal_contexts"] else "equal",
        "rows": rows,
        "unequal_rule_error": rule,
        "left_out": list(left_out(attention)),
    }


def main(arguments: list[str] | None = None) -> None:
    """Compare, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="a folder of LLMServingSim")
    result = compare(parser.parse_args(arguments).data)
    write_result("serving_real_server", result)
    table = make_table("simulated / measured - 1", "contexts", "time", *STATISTICS)
    for name, row in result["rows"].items():
        for time in TIMES:
            table.add_row(name, time, *(f"{row['errors'][time][one]:+.2%}" for one in STATISTICS))
    Console().print(table)


if __name__ == "__main__":
    main()
