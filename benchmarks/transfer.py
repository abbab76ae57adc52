"""Layers carried between devices, held against published times of both: every ordered pair of devices that one model was recorded on.

Operator times are those of the Vidur simulator, a folder for each device (``<gpu>/<owner>/<model>/mlp.csv``). Beside it what a datasheet alone would have said.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import ShapeError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.layer_transfer import layer_rows, summary
from adadecode.sim.hardware.importers.vidur import import_vidur
from adadecode.sim.hardware.provenance import device_of, precision_of, shape_of
from adadecode.sim.hardware.roofline import estimate
from benchmarks.harness import keep

DATA = Path("../shared/data/vidur")
DEVICES = {"a100": "a100-80gb-sxm", "h100": "h100-sxm", "a40": "a40"}
"""Devices of the catalogue by the names that Vidur gives them."""

TOKENS = range(1, 65)
FIGURES = ("median_error", "p90_error", "coverage")


def recordings(data: Path, folder: Path) -> tuple[dict[tuple[str, str], Profile], list[str]]:
    """By model and device, imported to ``folder``; and what was left out, and why."""
    found: dict[tuple[str, str], Profile] = {}
    left_out: list[str] = []
    for csv in sorted(data.glob("*/**/mlp.csv")):
        name, gpu = csv.parent.name, csv.relative_to(data).parts[0]
        if gpu not in DEVICES:
            left_out.append(f"{gpu}: no device of the catalogue is known by this name here")
            continue
        try:
            shape = find_model(name)
        except ShapeError as error:
            left_out.append(f"{gpu} {name}: {str(error).partition(',')[0]}")
            continue
        found[shape.name, gpu] = import_vidur(
            csv, shape, find_device(DEVICES[gpu]), folder / f"{shape.name}-{gpu}"
        )
    return found, left_out


def carried(found: dict[tuple[str, str], Profile]) -> list[dict[str, Any]]:
    """One row for each pair of devices and model."""
    rows = []
    for model in dict.fromkeys(model for model, _ in found):
        here = [gpu for name, gpu in found if name == model]
        for source, target in permutations(here, 2):
            layers = layer_rows(
                found[model, source], find_device(DEVICES[target]), found[model, target], TOKENS
            )
            rows.append(
                {
                    "model": model,
                    "from": source,
                    "to": target,
                    "batches": len(layers),
                    **summary(layers),
                    "errors": [row["error"] for row in layers],
                }
            )
    return rows


def from_datasheet(found: dict[tuple[str, str], Profile]) -> list[dict[str, Any]]:
    """One row for each recording: what `adadecode.sim.hardware.roofline.estimate` says of its layers."""
    rows = []
    for (model, gpu), profile in found.items():
        table, precision = (
            LatencyTable.from_samples(profile.latency, profile.n_layers),
            precision_of(profile),
        )
        cost, device = precision.cost(shape_of(profile)), device_of(profile)
        layers = []
        for n in sorted(
            set(profile.latency.loc[profile.latency["kind"] == "layer", "n_tokens"]) & set(TOKENS)
        ):
            said, truth = (
                estimate(cost.layer(n, 0), device, precision.activations),
                table.layer(0, n, 0, profile.n_layers),
            )
            layers.append(
                {"error": said.middle / truth - 1, "covered": said.low <= truth <= said.high}
            )
        rows.append({"model": model, "to": gpu, "batches": len(layers), **summary(layers)})
    return rows


def in_all(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Over pairs: the median and the worst of their median errors, how many are within 5 %, and the mean of what is covered."""
    medians = [row["median_error"] for row in rows]
    within = float(np.mean([median <= 0.05 for median in medians]))
    covered = [row["coverage"] for row in rows]
    return {
        "pairs": len(rows),
        "median_of_medians": float(np.median(medians)),
        "worst_median": max(medians),
        "within_5_percent": within,
        "coverage": float(np.mean(covered)),
        "worst_coverage": min(covered),
    }


def main(arguments: list[str] | None = None) -> None:
    """Import, carry, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found, left_out = recordings(args.data, Path(folder))
        pairs, sheets = carried(found), from_datasheet(found)
    if not pairs:
        print(f"no model was recorded on two devices under {args.data}: nothing to carry")
        return
    result = {
        "tokens": [TOKENS[0], TOKENS[-1]],
        "carried": in_all(pairs),
        "datasheet": in_all(sheets),
        "left_out": left_out,
    }
    keep("transfer", {**result, "pairs": pairs, "datasheets": sheets})
    for title, rows in (("carried", pairs), ("from the datasheet alone", sheets)):
        table = Table(
            "model",
            "from",
            "to",
            *(name.replace("_", " ") for name in FIGURES),
            title=f"one layer, {title}",
            title_justify="left",
        )
        for row in rows:
            table.add_row(
                row["model"],
                row.get("from", ""),
                row["to"],
                *(f"{row[name]:.1%}" for name in FIGURES),
            )
        table.caption = ", ".join(
            f"{name.replace('_', ' ')} {value:.3g}" for name, value in in_all(rows).items()
        )
        Console().print(table)
    for line in left_out:
        print(f"left out: {line}")


if __name__ == "__main__":
    main()
