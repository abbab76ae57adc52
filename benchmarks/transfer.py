"""Compare layer times carried between devices with published times of both devices.

Every ordered pair of devices that one model was recorded on is compared. Operator times are those
of the Vidur simulator, a folder for each device (``<gpu>/<owner>/<model>/mlp.csv``). The
prediction from a datasheet alone is given too.
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
from adadecode.sim.hardware.importers.vidur import import_vidur
from adadecode.sim.hardware.layer_transfer import layer_rows, summary
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.roofline import estimate
from benchmarks.harness import make_table, write_result

DATA = Path("../shared/data/vidur")
DEVICES = {"a100": "a100-80gb-sxm", "h100": "h100-sxm", "a40": "a40"}
"""Devices of the catalogue by the names that Vidur gives them."""

TOKENS = range(1, 65)
FIGURES = ("median_error", "p90_error", "coverage")
SMALL_ERROR = 0.05
"""Pairs with at most this median error are counted."""

Recordings = dict[tuple[str, str], Profile]
"""Imported operator times by model and Vidur's name of the device."""


def import_recordings(data: Path, folder: Path) -> tuple[Recordings, list[str]]:
    """Import all operator times.

    Args:
        data: Vidur's folders.
        folder: Where the profiles are written.

    Returns:
        The profiles, and a line for each file that was left out, with the reason.
    """
    found: Recordings = {}
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


def carry(recordings: Recordings) -> list[dict[str, Any]]:
    """Return one row for each model and ordered pair of devices: carried against published."""
    rows = []
    for model in dict.fromkeys(model for model, _ in recordings):
        gpus = [gpu for name, gpu in recordings if name == model]
        for source, target in permutations(gpus, 2):
            device = find_device(DEVICES[target])
            layers = layer_rows(
                recordings[model, source], device, recordings[model, target], TOKENS
            )
            row = {
                "model": model,
                "from": source,
                "to": target,
                "batches": len(layers),
                **summary(layers),
                "errors": [layer["error"] for layer in layers],
            }
            rows.append(row)
    return rows


def estimate_from_datasheets(recordings: Recordings) -> list[dict[str, Any]]:
    """Return one row for each recording: its layers by `roofline.estimate`, against published."""
    rows = []
    for (model, gpu), profile in recordings.items():
        table = LatencyTable.from_samples(profile.latency, profile.n_layers)
        origin = Provenance.of(profile)
        precision, device = origin.require_precision(), origin.require_device()
        cost = precision.cost(origin.require_shape())
        layer_points = profile.latency.loc[profile.latency["kind"] == "layer", "n_tokens"]
        layers = []
        for n_tokens in sorted(set(layer_points) & set(TOKENS)):
            bounds = estimate(cost.layer(n_tokens, 0), device, precision.activations)
            published = table.layer(0, n_tokens, 0, profile.n_layers)
            layers.append(
                {
                    "error": bounds.middle / published - 1,
                    "covered": bounds.low <= published <= bounds.high,
                }
            )
        rows.append({"model": model, "to": gpu, "batches": len(layers), **summary(layers)})
    return rows


def summarize_pairs(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the errors over all pairs.

    That is the median and the worst of their median errors, the share of pairs within 5 %, and how
    much of the published times the intervals cover, on average and at worst.
    """
    medians = [row["median_error"] for row in rows]
    coverages = [row["coverage"] for row in rows]
    return {
        "pairs": len(rows),
        "median_of_medians": float(np.median(medians)),
        "worst_median": max(medians),
        "within_5_percent": float(np.mean([median <= SMALL_ERROR for median in medians])),
        "coverage": float(np.mean(coverages)),
        "worst_coverage": min(coverages),
    }


def pair_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Return the errors of all pairs as a table."""
    table = make_table(
        f"one layer, {title}",
        *("model", "from", "to"),
        *(name.replace("_", " ") for name in FIGURES),
        words=("model", "from", "to"),
    )
    for row in rows:
        figures = (f"{row[name]:.1%}" for name in FIGURES)
        table.add_row(row["model"], row.get("from", ""), row["to"], *figures)
    table.caption = ", ".join(
        f"{name.replace('_', ' ')} {value:.3g}" for name, value in summarize_pairs(rows).items()
    )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Import operator times, carry them between devices and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="Vidur's folders [%(default)s]")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        recordings, left_out = import_recordings(options.data, Path(folder))
        pairs, sheets = carry(recordings), estimate_from_datasheets(recordings)
    if not pairs:
        print(f"no model was recorded on two devices under {options.data}: nothing to carry")
        return
    write_result(
        "transfer",
        {
            "tokens": [TOKENS[0], TOKENS[-1]],
            "carried": summarize_pairs(pairs),
            "datasheet": summarize_pairs(sheets),
            "left_out": left_out,
            "pairs": pairs,
            "datasheets": sheets,
        },
    )
    Console().print(pair_table("carried", pairs), pair_table("from the datasheet alone", sheets))
    for line in left_out:
        print(f"left out: {line}")


if __name__ == "__main__":
    main()
