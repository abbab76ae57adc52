"""Time the compiled replay against the SimPy model, and a sweep of 10,000 designs on ten devices.

The text is the recorded one. Its prompts are repeated under new numbers until there are enough
tokens.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.hardware.memory import Deployment
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.replay.simulation import replay
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.plan import SweepPlan
from adadecode.sim.sweep.runner import run_sweep
from adadecode.sim.sweep.space import Space
from benchmarks.harness import PROFILE, in_turn, make_table, ratio, write_result

DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.75, placement=(4,)),
    Design.of(gamma=0.75, placement=(4, 8)),
    Design.of(gamma=0.75, placement=(3, 6, 9, 12)),
)
DEVICES = (
    "a100-80gb-sxm",
    "h100-sxm",
    "h200-sxm",
    "b200-sxm",
    "l40s",
    "l4",
    "a10g",
    "rtx-4090",
    "rtx-3060-8gb",
)
"""And the recorded machine itself: ten."""

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Tokens of the traces that show how times grow."""
MANY = 10_000
"""Tokens of the usual trace, and designs of the usual sweep."""
BATCH, PART = 20, 256
"""Designs in a call of the compiled replay, and in a part of a sweep."""


def repeat_text(profile: Profile, tokens: int) -> Trace:
    """Return the profile's text, with its branches, repeated until it has ``tokens`` tokens."""
    prompts = profile.prompts
    shift = int(prompts["prompt"].max()) + 1
    copies = -(-tokens // int(prompts["n_output"].sum()))

    def repeat(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat(
            [frame.assign(prompt=frame["prompt"] + copy * shift) for copy in range(copies)],
            ignore_index=True,
        )

    return Trace.from_frames(
        *map(repeat, (prompts, profile.trace, profile.branches)),
        n_layers=profile.n_layers,
        depths=profile.depths,
        eos=frozenset(profile.manifest["eos_token_ids"]),
    )


def count_tokens(trace: Trace) -> int:
    """Return the number of outputs of all prompts."""
    return sum(map(trace.n_output, trace.prompts))


def replay_speed(profile: Profile, repeats: int, console: Console) -> list[dict[str, Any]]:
    """Return tokens per second and core of both replays, timed in turn on `MANY` tokens."""
    trace = repeat_text(profile, MANY)
    tokens = count_tokens(trace)
    predictor = Predictor(trace=trace, latency=measured_latencies(profile).middle)
    compiled = CompiledReplay.of(trace, predictor.model)
    rows = []
    for design in DESIGNS:
        contexts = predictor.latency.contexts
        jobs: dict[str, list[Callable[[], object]]] = {
            "compiled": [partial(compiled.count, [design] * BATCH, contexts=contexts)],
            "simpy": [partial(replay, trace, predictor.latency, design, model=predictor.model)],
        }
        seconds = in_turn(jobs, repeats)
        rates = {
            "compiled": [BATCH * tokens / s for s in seconds["compiled"]],
            "simpy": [tokens / s for s in seconds["simpy"]],
        }
        row: dict[str, Any] = {"design": design.label}
        row |= {
            name: {"median": statistics.median(each), "min": min(each), "max": max(each)}
            for name, each in rates.items()
        }
        row["ratio"] = ratio(rates["compiled"], rates["simpy"])
        rows.append(row)
    console.print(replay_table(f"replay of {tokens:,} tokens, one core", rows))
    return rows


def replay_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the speeds of both replays as a table."""
    table = make_table(
        title,
        "design",
        "compiled, tokens/s",
        "lowest .. highest",
        "SimPy, tokens/s",
        "ratio",
        words=("design",),
    )
    for row in rows:
        compiled = row["compiled"]
        table.add_row(
            row["design"],
            f"{compiled['median'] / 1e6:.1f} M",
            f"{compiled['min'] / 1e6:.1f} .. {compiled['max'] / 1e6:.1f} M",
            f"{row['simpy']['median']:,.0f}",
            f"{row['ratio']['median']:.0f}",
        )
    return table


def make_evaluator(profile: Profile, trace: Trace) -> Evaluator:
    """Return the evaluator of a trace on ten devices.

    Every device that was not measured has seven price lists.
    """
    shape = Provenance.of(profile).require_shape()
    devices = {name: find_device(name) for name in DEVICES}
    compiled = CompiledReplay.of(trace)
    latencies = [
        measured_latencies(profile),
        *(
            datasheet_latencies(
                shape,
                device,
                dtype="fp16",
                max_context=compiled.contexts[1],
                max_tokens=6,
                depths=trace.depths,
            )
            for device in devices.values()
        ),
    ]
    return Evaluator.of(
        compiled,
        latencies,
        max_tokens=6,
        costs=[ModelCost(shape=shape)] * len(latencies),
        runs=[Deployment(shape=shape, context=256)] * len(latencies),
        known=devices,
    )


def growth(profile: Profile, tokens: int, console: Console) -> dict[str, Any]:
    """Time both replays of one design, once, and a sweep of 1,000 designs, on ``tokens`` tokens."""
    trace, design = repeat_text(profile, tokens), DESIGNS[2]
    predictor = Predictor(trace=trace, latency=measured_latencies(profile).middle)
    compiled = CompiledReplay.of(trace, predictor.model)
    contexts = predictor.latency.contexts
    jobs: dict[str, list[Callable[[], object]]] = {
        "compiled_s": [partial(compiled.count, [design], contexts=contexts)],
        "simpy_s": [partial(replay, trace, predictor.latency, design, model=predictor.model)],
    }
    seconds = {name: spent for name, (spent,) in in_turn(jobs, 1).items()}
    console.print(
        f"{design.label}, {count_tokens(trace):,} tokens: "
        f"compiled {seconds['compiled_s']:.4f} s, SimPy {seconds['simpy_s']:.2f} s"
    )
    return seconds | sweep_speed(profile, trace, 1000, console)


def sweep_speed(profile: Profile, trace: Trace, count: int, console: Console) -> dict[str, Any]:
    """Time one sweep: making its price lists, and evaluating ``count`` designs on all devices."""
    began = time.perf_counter()
    evaluator = make_evaluator(profile, trace)
    tables_s = time.perf_counter() - began
    designs = list(islice(_space(profile).designs(), count))
    began = time.perf_counter()
    with workers(evaluator) as submit:
        parts = [submit(designs[first : first + PART]) for first in range(0, len(designs), PART)]
        rows = sum(len(part.result()) for part in parts)
    found = {
        "tokens": count_tokens(trace),
        "designs": len(designs),
        "rows": rows,
        "tables_s": tables_s,
        "evaluate_s": time.perf_counter() - began,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    console.print(
        f"{len(designs):,} designs x {found['tokens']:,} tokens x "
        f"{len(evaluator.devices)} devices: tables {tables_s:.1f} s, "
        f"all {rows:,} rows {found['evaluate_s']:.1f} s, "
        f"peak memory {found['peak_bytes'] / 2**30:.2f} GiB"
    )
    return found


def whole_sweep(profile: Profile, console: Console) -> dict[str, Any]:
    """Time `run_sweep` as the command runs it, to the last file.

    That includes refinement, ceilings and the choice on held-out prompts.
    """
    trace = repeat_text(profile, MANY)
    began = time.perf_counter()
    evaluator = make_evaluator(profile, trace)
    plan = SweepPlan(
        space=_space(profile), objectives=("tpot",), sources=_sources(profile, evaluator)
    )
    about = {"model": profile.manifest["model"]["name"], "hypothetical": False, "notes": []}
    with tempfile.TemporaryDirectory() as folder, workers(evaluator) as submit:
        sweep = run_sweep(plan, evaluator, submit, Path(folder) / "sweep", about)
    seconds = time.perf_counter() - began
    console.print(
        f"the same to the last file, {sweep.about['designs']:,} designs, "
        f"bests refined and put in their place: {seconds:.1f} s"
    )
    return {"designs": sweep.about["designs"], "seconds": seconds}


def _sources(profile: Profile, evaluator: Evaluator) -> dict[str, Any]:
    """Return what a sweep says of its text and its devices."""
    source = {"path": str(profile.path), "name": profile.name, "digest": profile.manifest["digest"]}
    devices = [one.latencies for one in evaluator.devices]
    return {
        "profile": source,
        "trace": source,
        "devices": [
            {"device": one.device, "basis": one.basis, "notes": list(one.notes)} for one in devices
        ],
        "prompts": {
            "domain": None,
            "count": len(evaluator.prompts),
            "chosen": list(evaluator.prompts),
        },
    }


def _space(profile: Profile) -> Space:
    """Return the space of up to three heads, fifteen thresholds and two caps: 17,250 designs."""
    return Space.among(profile.depths, profile.n_layers, caps=(3, 5))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="tokens of the longest trace")
    options = parser.parse_args(arguments)
    console, profile = Console(), read_profile(PROFILE)
    jobs: dict[str, Callable[[], Any]] = {
        "replay": lambda: replay_speed(profile, options.repeats, console),
        "sweep": lambda: sweep_speed(profile, repeat_text(profile, MANY), MANY, console),
        "whole": lambda: whole_sweep(profile, console),
        # last, because memory is given at its peak
        "growth": lambda: [
            growth(profile, size, console) for size in SIZES if size <= options.most
        ],
    }
    write_result("sweep", {name: job() for name, job in jobs.items()})


if __name__ == "__main__":
    main()
