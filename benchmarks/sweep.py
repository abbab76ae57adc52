"""How fast the what-ifs are: the compiled replay against the SimPy model, and a sweep of 10,000 designs on ten devices.

The text is the recorded one, its prompts repeated under new numbers until there are enough tokens.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
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
from adadecode.sim.hardware.provenance import shape_of
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.replay.simulation import replay
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.runner import SweepPlan, run_sweep
from adadecode.sim.sweep.space import Space
from benchmarks.harness import PROFILE, in_turn, keep, ratio

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
MANY = 10_000


def longer(profile: Profile, tokens: int) -> Trace:
    """The profile's text, repeated until it has so many tokens at least; branches too."""
    texts = profile.prompts
    shift = int(texts["prompt"].max()) + 1
    copies = -(-tokens // int(texts["n_output"].sum()))

    def repeated(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat(
            [frame.assign(prompt=frame["prompt"] + copy * shift) for copy in range(copies)],
            ignore_index=True,
        )

    return Trace.from_frames(
        *map(repeated, (texts, profile.trace, profile.branches)),
        n_layers=profile.n_layers,
        depths=profile.depths,
        eos=frozenset(profile.manifest["eos_token_ids"]),
    )


def tokens_of(trace: Trace) -> int:
    """All outputs of all prompts."""
    return sum(map(trace.n_output, trace.prompts))


def replay_speed(profile: Profile, repeats: int, console: Console) -> list[dict[str, Any]]:
    """Tokens per second and core of both replays, in turn, on a trace of 10,000 tokens."""
    trace = longer(profile, MANY)
    predictor = Predictor(trace=trace, latency=measured_latencies(profile).middle)
    compiled = CompiledReplay.of(trace, predictor.model)
    contexts = predictor.latency.contexts
    table = Table(
        "design",
        "compiled, tokens/s",
        "lowest .. highest",
        "SimPy, tokens/s",
        "ratio",
        title=f"replay of {tokens_of(trace):,} tokens, one core",
    )
    rows = []
    for design in DESIGNS:
        batch = 20  # designs in a call, as a sweep makes them

        def fast(design: Design = design, batch: int = batch) -> None:
            compiled.count([design] * batch, contexts=contexts)

        def slow(design: Design = design) -> None:
            replay(trace, predictor.latency, design, model=predictor.model)

        seconds = in_turn({"compiled": [fast], "simpy": [slow]}, repeats)
        rates = {
            "compiled": [batch * tokens_of(trace) / s for s in seconds["compiled"]],
            "simpy": [tokens_of(trace) / s for s in seconds["simpy"]],
        }
        row = {
            "design": design.label,
            **{
                name: {"median": statistics.median(each), "min": min(each), "max": max(each)}
                for name, each in rates.items()
            },
            "ratio": ratio(rates["compiled"], rates["simpy"]),
        }
        rows.append(row)
        each = row["compiled"]
        table.add_row(
            design.label, f"{each['median'] / 1e6:.1f} M", f"{each['min'] / 1e6:.1f} .. {each['max'] / 1e6:.1f} M", f"{row['simpy']['median']:,.0f}",
            f"{row['ratio']['median']:.0f}",
        )  # fmt: skip
    console.print(table)
    return rows


def evaluator_of(profile: Profile, trace: Trace) -> Evaluator:
    """The trace on ten devices, seven price lists each for those that were not measured."""
    shape = shape_of(profile)
    known = {name: find_device(name) for name in DEVICES}
    compiled = CompiledReplay.of(trace)
    asked = {
        "dtype": "fp16",
        "max_context": compiled.contexts[1],
        "max_tokens": 6,
        "depths": trace.depths,
    }
    tables = [
        measured_latencies(profile),
        *(datasheet_latencies(shape, device, **asked) for device in known.values()),
    ]
    return Evaluator.of(
        compiled,
        tables,
        max_tokens=6,
        costs=[ModelCost(shape=shape)] * len(tables),
        runs=[Deployment(shape=shape, context=256)] * len(tables),
        known=known,
    )


def growth(profile: Profile, tokens: int, console: Console) -> dict[str, Any]:
    """Both replays of one design on a text of this length, once, and a sweep of 1,000 designs."""
    trace, design = longer(profile, tokens), DESIGNS[2]
    predictor = Predictor(trace=trace, latency=measured_latencies(profile).middle)
    compiled = CompiledReplay.of(trace, predictor.model)
    contexts = predictor.latency.contexts
    both: dict[str, Callable[[], object]] = {
        "compiled_s": lambda: compiled.count([design], contexts=contexts),
        "simpy_s": lambda: replay(trace, predictor.latency, design, model=predictor.model),
    }
    taken = {
        name: each[0]
        for name, each in in_turn({name: [job] for name, job in both.items()}, 1).items()
    }
    console.print(
        f"{design.label}, {tokens_of(trace):,} tokens: compiled {taken['compiled_s']:.4f} s, SimPy {taken['simpy_s']:.2f} s"
    )
    return taken | sweep_speed(profile, trace, 1000, console)


def sweep_speed(profile: Profile, trace: Trace, count: int, console: Console) -> dict[str, Any]:
    """One sweep: seconds to make its price lists, and to evaluate the first ``count`` designs on all devices."""
    begun = time.perf_counter()
    evaluator = evaluator_of(profile, trace)
    ready = time.perf_counter() - begun
    designs = list(islice(_space(profile).designs(), count))
    begun = time.perf_counter()
    with workers(evaluator) as submit:
        parts = [submit(designs[first : first + 256]) for first in range(0, len(designs), 256)]
        rows = sum(len(part.result()) for part in parts)
    swept = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told = {
        "tokens": tokens_of(trace),
        "designs": len(designs),
        "rows": rows,
        "tables_s": ready,
        "evaluate_s": swept,
        "peak_bytes": peak,
    }
    console.print(
        f"{len(designs):,} designs x {told['tokens']:,} tokens x {len(evaluator.devices)} devices: tables {ready:.1f} s, all {rows:,} rows {swept:.1f} s, "
        f"peak memory {peak / 2**30:.2f} GiB"
    )
    return told


def whole_sweep(profile: Profile, console: Console) -> dict[str, Any]:
    """`run_sweep` as the command runs it, to the last file: refinement, ceilings and held-out choice included."""
    trace = longer(profile, MANY)
    begun = time.perf_counter()
    evaluator = evaluator_of(profile, trace)
    space = _space(profile)
    with tempfile.TemporaryDirectory() as folder, workers(evaluator) as submit:
        done = run_sweep(
            SweepPlan(space=space, objectives=("tpot",), sources={}),
            evaluator,
            submit,
            Path(folder) / "sweep",
            {},
        )
    seconds = time.perf_counter() - begun
    console.print(
        f"the same to the last file, {done.about['designs']:,} designs, bests refined and put in their place: {seconds:.1f} s"
    )
    return {"designs": done.about["designs"], "seconds": seconds}


def _space(profile: Profile) -> Space:
    """Three heads at most, fifteen thresholds, two caps: 17,250 designs."""
    return Space.among(profile.depths, profile.n_layers, caps=(3, 5))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="tokens of the longest trace")
    args = parser.parse_args(arguments)
    console, profile = Console(), read_profile(PROFILE)
    jobs: dict[str, Callable[[], Any]] = {
        "replay": lambda: replay_speed(profile, args.repeats, console),
        "sweep": lambda: sweep_speed(profile, longer(profile, MANY), MANY, console),
        "whole": lambda: whole_sweep(profile, console),
        "growth": lambda: [
            growth(profile, size, console) for size in SIZES if size <= args.most
        ],  # last: memory is told at its peak
    }
    keep("sweep", {name: job() for name, job in jobs.items()})


if __name__ == "__main__":
    main()
