"""Measure layers, verifications and checks in place by rows, with products of few rows and without.

Rows of one batch are compared with one row, and a check with the time in which its bytes are read.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedModel

from adadecode.engine import AdaDecoder, ExitHeads, load_demo, load_smollm2
from adadecode.engine.model import few_rows
from adadecode.engine.profiling.latency_walks import walk
from adadecode.engine.runtime.timer import Clock
from benchmarks.harness import RESULTS, describe_ratio, make_table, ratio, write_result

MODES = ("eager", "compile")
DTYPES = ("float32", "bfloat16")
ROWS = (1, 2, 3, 4, 5, 6, 7, 8)
SHORTLISTS = {"demo": 256, "smollm2": 8192}
WAYS = ("before", "after")
"""``F.linear`` alone, and what is measured to be sooner."""

CONTEXT, LAPS = 64, 5
READ_BYTES = 2**27

Seconds = dict[tuple[str, str, int], list[float]]
"""Medians of the visits, by way, kind of work and number of rows.

For a check, the number is that of the head's tokens.
"""


def main(arguments: list[str] | None = None) -> None:
    """Print and keep the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="demo,smollm2")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="keep what was measured of others")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = [
        compare(name, dtype, graphs, options.visits)
        for name in options.models.split(",")
        for dtype in options.dtypes.split(",")
        for graphs in options.modes.split(",")
    ]
    if options.add:
        results = _added(json.loads((RESULTS / "few_rows.json").read_text("utf-8")), results)
    write_result("few_rows", {"visits": options.visits, "laps": LAPS, "results": results})
    Console(width=150).print(table_of(results))


def _added(before: Mapping[str, Any], results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return earlier results but for those that were measured again, and these."""
    again = {(one["model"], one["dtype"], one["graphs"]) for one in results}
    kept = [
        one for one in before["results"] if (one["model"], one["dtype"], one["graphs"]) not in again
    ]
    return sorted([*kept, *results], key=lambda one: (one["model"], one["graphs"], one["dtype"]))


def compare(name: str, dtype: str, graphs: str, visits: int) -> dict[str, Any]:
    """Return the times of one model in one format and mode, both ways in turn."""
    model, depth = load(name, dtype)
    head = model.get_output_embeddings()
    assert isinstance(head.weight, torch.Tensor)
    vocabulary, width = head.weight.shape
    full = ExitHeads(model, {depth: torch.eye(width)})
    listed = SHORTLISTS[name]
    heads = {
        vocabulary: full,
        listed: full.shaped(model, shortlist=listed, frequent=range(listed)),
    }
    decoders = {way: AdaDecoder(model, full, graphs=graphs) for way in WAYS}
    found: Seconds = defaultdict(list)
    read_s = []
    memory = torch.ones(READ_BYTES, dtype=torch.uint8).view(torch.float32)
    for visit in range(visits + 1):
        read_s.append(_read_seconds(memory))
        for way, decoder in decoders.items():
            with few_rows.by_library_alone() if way == "before" else nullcontext():
                for kind, rows, seconds in visited(decoder, depth, heads, visit):
                    found[way, kind, rows].append(seconds)
        if visit == 0:  # compiled then, and cold
            found.clear()
            read_s.clear()
    return {
        "model": name,
        "dtype": dtype,
        "graphs": graphs,
        "read_gb_per_s": READ_BYTES / median(read_s) / 1e9,
        "listed": listed,
        **{way: _described(found, way, heads, width, head.weight, read_s) for way in WAYS},
    }


def load(name: str, dtype: str) -> tuple[PreTrainedModel, int]:
    """Return a model, and a depth in the middle of it."""
    loaded = load_demo(dtype) if name == "demo" else load_smollm2(dtype)
    return loaded.model, loaded.model.config.num_hidden_layers // 2


def visited(
    decoder: AdaDecoder, depth: int, heads: Mapping[int, ExitHeads], visit: int
) -> Iterator[tuple[str, int, float]]:
    """Yield kind, rows and median seconds of layers, verifications and checks in place."""
    parts = decoder.parts
    with torch.inference_mode():
        parts.allocate(2 * CONTEXT)
    with parts.session():
        for rows in ROWS:
            timed = list(walk(decoder, parts.n_layers, [5] * rows, CONTEXT, LAPS, visit))
            for kind in ("layer", "verify"):
                yield kind, rows, median(row["seconds"] for row in timed if row["kind"] == kind)
        for tokens, form in heads.items():
            timed = list(walk(decoder, depth, [5], CONTEXT, 2 * LAPS, visit, heads=form))
            yield "check", tokens, median(row["seconds"] for row in timed if row["kind"] == "head")


def _read_seconds(memory: torch.Tensor) -> float:
    """Return the seconds in which one thread reads these bytes, by what reads them soonest."""
    matrix = memory[: len(memory) // 512 * 512].view(-1, 512)
    row = torch.ones(1, 512)
    clock = Clock(memory.device)
    with torch.inference_mode():
        for _ in range(4):
            clock.mark()
            memory.sum()
            clock.mark()
            few_rows.linear(row, matrix)
    clock.mark()
    return min(clock.intervals())


def _described(
    found: Seconds,
    way: str,
    heads: Mapping[int, ExitHeads],
    width: int,
    weight: torch.Tensor,
    read_s: Sequence[float],
) -> dict[str, Any]:
    """Return the times of one way, its ratios to one row, and checks over their reading time."""
    works: dict[str, Any] = {
        f"{kind}_{name}": {
            str(rows): (
                1e3 * median(found[way, kind, rows])
                if name == "ms"
                else ratio(found[way, kind, rows], found[way, kind, 1])
            )
            for rows in ROWS
        }
        for kind in ("layer", "verify")
        for name in ("ms", "over_one")
    }
    checks = {}
    for tokens in heads:
        nbytes = (tokens + width) * width * weight.element_size()
        reading = [nbytes / READ_BYTES * seconds for seconds in read_s]
        seconds = found[way, "check", tokens]
        checks[str(tokens)] = {
            "ms": 1e3 * median(seconds),
            "bytes": nbytes,
            "gb_per_s": nbytes / median(seconds) / 1e9,
            "over_reading": ratio(seconds, reading),
        }
    return {**works, "checks": checks}


def table_of(results: Sequence[Mapping[str, Any]]) -> Table:
    """Return the times as a table."""
    title = "over one row of the same way: median (lowest .. highest) of the visits"
    words = ("model", "way", "work")
    table = make_table(title, *words, "one row, ms", *map(str, (2, 4, 6, 8)), words=words)
    for result in results:
        model = f"{result['model']} {result['dtype']} {result['graphs']}"
        for way in WAYS:
            for kind in ("layer", "verify"):
                over = result[way][f"{kind}_over_one"]
                one = f"{result[way][f'{kind}_ms']['1']:.2f}"
                cells = (describe_ratio(over[str(rows)]) for rows in (2, 4, 6, 8))
                table.add_row(model, way, kind, one, *cells)
            for tokens, check in result[way]["checks"].items():
                reading = f"{describe_ratio(check['over_reading'])} of its reading time"
                table.add_row(model, way, f"check of {tokens}", f"{check['ms']:.2f}", reading)
    return table


if __name__ == "__main__":
    main()
