"""Fit the law that carries layers between devices, each device left out in turn, and compare.

Products are those of AIConfigurator (A100, H100, H200), LLMServingSim (RTX 4090) and Vidur (A100,
H100). Every ordered pair of devices with a common source of times is compared, by the law and by
carried efficiency.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from scipy.optimize import least_squares

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import LatencyError
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.kernel_tables.products import ProductTimes
from adadecode.sim.hardware.kernel_tables.table_file import KernelRows
from adadecode.sim.hardware.roofline import ORDINARY_CLOCK
from adadecode.sim.hardware.transfer_law import TransferLaw, law_for, sustained_ratio
from adadecode.sim.hardware.transfer_matrix import (
    DTYPE,
    RULES,
    Product,
    compare,
    device_of,
    layer_products,
)
from benchmarks.harness import make_table, write_result

DATA = Path("../shared/data")
TOKENS = (1, 2, 4, 8, 16, 32, 64)
MODELS = (
    "llama-3.1-8b", "qwen3-1.7b", "llama-3.2-1b", "llama-3.2-3b", "qwen3-8b", "qwen3-32b",
    "llama-3.1-70b", "llama-2-7b",
)  # fmt: skip
LEAST_BYTES, LEAST_WIDTH = 8e6, 1024
"""Smaller products take the fixed time of a kernel, whatever the law says."""

LOSS = 0.1
"""Errors beyond this, in logarithms, count by their size and no more by their square."""

ELSEWHERE = {
    "down_proj": "mlp_down", "gate_up_proj": "mlp_up", "o_proj": "attention_out",
    "qkv_proj": "qkv", "attn_pre_proj": "qkv", "attn_post_proj": "attention_out",
    "mlp_up_proj": "mlp_up", "mlp_down_proj": "mlp_down",
}  # fmt: skip
"""Our names of products in the files of LLMServingSim and of Vidur."""

VIDUR = {"a100": "a100-80gb-sxm", "h100": "h100-sxm"}


@dataclass(frozen=True)
class Measured:
    """Products that one source measured on a device."""

    device: str
    source: str
    rows: pd.DataFrame

    @property
    def times(self) -> ProductTimes:
        """The same, to be asked for a product."""
        return ProductTimes(table=KernelRows(rows=self.rows, source=Path(self.source)))


def read_tables(data: Path) -> Iterator[Measured]:
    """Yield what each source measured on each device."""
    library = KernelLibrary.of(data / "aiconfigurator")
    for system in library.systems:
        for version in library.versions(system, "vllm"):
            rows = library.tables(system, "vllm", version).products(DTYPE).rows
            rows = rows[rows["m"].isin(TOKENS)]
            yield Measured(device_of(system).name, f"vllm {version}", rows)
    for path in sorted(data.glob("llmservingsim/*/*/profile/dense.csv")):
        table = pd.read_csv(path)
        shape = find_model(path.parents[1].name)
        times = zip(table["layer"], table["tokens"], 1e-6 * table["time_us"], strict=True)
        yield Measured("rtx-4090", "llmservingsim", _rows(shape.name, times))
    for gpu, device in VIDUR.items():
        parts = []
        for path in sorted((data / "vidur" / gpu).glob("*/*/mlp.csv")):
            table = pd.read_csv(path)
            table = table[table["num_tensor_parallel_workers"] == 1]
            name = find_model(path.parent.name).name
            for operator in ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj"):
                medians = 1e-3 * table[f"time_stats.{operator}.median"]
                times = zip([operator] * len(table), table["num_tokens"], medians, strict=True)
                parts.append(_rows(name, times))
        yield Measured(device, "vidur", pd.concat(parts).drop_duplicates(["m", "n", "k"]))


def _rows(model: str, times: Iterable[tuple[str, int, float]]) -> pd.DataFrame:
    """Return products of a model as rows of m, n, k and seconds."""
    products = {one.name: one for one in layer_products(find_model(model))}
    rows = [
        (m, products[ELSEWHERE[name]].n, products[ELSEWHERE[name]].k, seconds)
        for name, m, seconds in times
        if name in ELSEWHERE and m in TOKENS
    ]
    return pd.DataFrame(rows, columns=["m", "n", "k", "seconds"])


def fit(tables: Iterable[Measured]) -> TransferLaw:
    """Return the constants that fit some tables, each with the same weight."""
    parts = []
    for one in tables:
        device, rows = find_device(one.device), one.rows
        rows = rows[rows["m"].isin(TOKENS) & (rows[["n", "k"]].min(axis=1) >= LEAST_WIDTH)]
        costs = [
            Product(name="", n=n, k=k).cost(m)
            for m, n, k in zip(rows["m"], rows["n"], rows["k"], strict=True)
        ]
        bandwidth = sustained_ratio(device) * device.bandwidth
        parts.append(
            np.array(
                [
                    (
                        1 / (device.clock_hz or ORDINARY_CLOCK),
                        cost.bytes / bandwidth,
                        cost.flops / device.peak(DTYPE),
                        seconds,
                        cost.bytes,
                        len(costs) ** -0.5,
                    )
                    for cost, seconds in zip(costs, rows["seconds"], strict=True)
                ]
            )
        )
    points = np.concatenate(parts)
    cycle, bytes_, flops, seconds, _size, weight = points[points[:, 4] > LEAST_BYTES].T

    def errors(constants: np.ndarray) -> np.ndarray:
        predicted = constants[0] * 1e4 * cycle + bytes_ / constants[1] + constants[2] * flops
        return np.asarray(np.log(predicted / seconds))

    def weighted(constants: np.ndarray) -> np.ndarray:
        one = errors(constants)
        robust = np.sign(one) * LOSS * np.sqrt(2 * (np.sqrt(1 + (one / LOSS) ** 2) - 1))
        return np.asarray(weight * robust)

    found = least_squares(weighted, [0.75, 0.87, 0.2], bounds=([0, 0.1, 0], [5, 2, 2])).x
    return TransferLaw(cycles=1e4 * found[0], share=float(found[1]), unhidden=float(found[2]))


def compare_pairs(tables: list[Measured]) -> list[dict[str, Any]]:
    """Return one row for each ordered pair of devices and model, by both rules.

    Two devices are compared in what one source measured on both, the newest version of it; a
    device of which no other has the source, with the newest of all.
    """
    rows = []
    for source, target in permutations(dict.fromkeys(one.device for one in tables), 2):
        for here, there in _common(tables, source, target):
            for name in MODELS:
                pair: dict[str, Any] = {"sources": sorted({here.source, there.source})}
                try:
                    for rule in RULES:
                        found = compare(
                            find_device(source), find_device(target), find_model(name),
                            (here.times, there.times), TOKENS, rule,
                        )  # fmt: skip
                        row = found.to_dict()
                        pair |= {key: row.pop(key) for key in ("from", "to", "model")}
                        pair[rule] = {**row, "errors": found.errors}
                except LatencyError:  # this source did not measure the model's products
                    continue
                rows.append(pair)
    return rows


def _common(
    tables: list[Measured], source: str, target: str
) -> Iterator[tuple[Measured, Measured]]:
    here, there = (
        {one.source: one for one in tables if one.device == name} for name in (source, target)
    )
    both = [name for name in here if name in there]
    engines = [name for name in both if name != "vidur"]
    if engines:
        yield here[engines[-1]], there[engines[-1]]
    else:
        first, last = ([name for name in side if name != "vidur"] for side in (here, there))
        yield here[first[-1]], there[last[-1]]
    if "vidur" in both:
        yield here["vidur"], there["vidur"]


def spread(rows: list[dict[str, Any]], *, siblings: bool) -> float:
    """Return the half interval, in logarithms, that nine in ten layers of every device keep.

    Args:
        rows: What `compare_pairs` returns.
        siblings: Whether between devices of one architecture, or between others.
    """
    errors: dict[str, list[float]] = {}
    for row in rows:
        here, there = (find_device(row[end]).architecture for end in ("from", "to"))
        if (here == there) == siblings:
            errors.setdefault(row["to"], []).extend(np.abs(np.log1p(row["law"]["errors"])))
    return max(float(np.percentile(one, 90)) for one in errors.values())


def by_devices(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the means over the models of each pair of devices, by both rules."""
    table = pd.DataFrame(
        [
            {
                "from": row["from"],
                "to": row["to"],
                **{(r, k): v for r in RULES for k, v in row[r].items()},
            }
            for row in rows
        ]
    )
    means = []
    for (source, target), group in table.groupby(["from", "to"], sort=False):
        mean: dict[str, Any] = {"from": source, "to": target, "models": len(group)}
        for rule in RULES:
            mean[rule] = {
                key: float(group[rule, key].mean()) for key in rows[0][rule] if key != "errors"
            }
            mean[rule]["worst_median"] = float(group[rule, "median_error"].max())
        means.append(mean)
    return means


def main(arguments: list[str] | None = None) -> None:
    """Fit the constants, compare the rules, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="tables of others [%(default)s]")
    options = parser.parse_args(arguments)
    tables = list(read_tables(options.data))
    devices = list(dict.fromkeys(one.device for one in tables))
    fits = {
        name or "all": {
            "fitted": asdict(fit(one for one in tables if one.device != name)),
            "used": asdict(law_for(find_device(name or "l4"))),
        }
        for name in ("", *devices)
    }
    rows = compare_pairs(tables)
    means = by_devices(rows)
    spreads = {"other": spread(rows, siblings=False), "sibling": spread(rows, siblings=True)}
    write_result(
        "transfer_law",
        {"tokens": TOKENS, "constants": fits, "spreads": spreads, "devices": means, "pairs": rows},
    )
    print(pd.DataFrame({name: one["fitted"] for name, one in fits.items()}).round(3).to_string())
    print(spreads)
    listing = make_table(
        "layers carried to devices that were left out", "from", "to",
        *(f"{rule}: {key}" for rule in RULES for key in means[0][rule]), words=("from", "to"),
    )  # fmt: skip
    for row in means:
        figures = (f"{value:.1%}" for rule in RULES for value in row[rule].values())
        listing.add_row(row["from"], row["to"], *figures)
    Console().print(listing)


if __name__ == "__main__":
    main()
