"""Predict the paper's figure 5 and table 2 from kernels of a production engine, in three regimes.

Kernels are AIConfigurator's of an A100 under vLLM, or by the datasheet where these lack a model's.
An eager host's time for each kernel is `adadecode.sim.hardware.host_time.HOST_SECONDS`, from other
published speeds, so that the nine speeds of vanilla are predictions. Heads are those that
`benchmarks.paper` fitted, read from its results: to the rates of figure 5, or to its speedups too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import LatencyError
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.host_time import HOST_SECONDS
from adadecode.sim.hardware.importers.aiconfigurator import import_kernels
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.synthetic.head_model import Beta, HeadModel
from benchmarks.harness import RESULTS, make_table, write_result
from benchmarks.paper import NEVER, speedups
from benchmarks.paper_stack import DEVICE, LLAMA, LONGEST, N_PROMPT, quarters
from benchmarks.published import ADADECODE, FIGURE_5, GAMMA, OUTPUTS, PLACEMENT, VANILLA

SYSTEM, BACKEND = "a100_sxm", "vllm"

BY_RATES, JOINT = "one concentration", "joint"
"""Fits of `benchmarks.paper`: the first, to the rates alone; and the one to speedups too."""


def model_of(about: Mapping[str, Any], n_layers: int, depths: Sequence[int]) -> HeadModel:
    """Return heads that are as right and as sure as fitted ones, at the depths of a model.

    Args:
        about: `HeadModel.to_dict` of the fitted heads.
        n_layers: Layers of the model.
        depths: Depths of its heads, as many as were fitted.
    """
    parts = {
        name: tuple(Beta(*pair) for pair in value) if name in ("right", "wrong") else value
        for name, value in about.items()
    }
    parts["last"], parts["agreement"] = Beta(*about["last"]), tuple(about["agreement"])
    return HeadModel(**{**parts, "n_layers": n_layers, "depths": tuple(depths)})


def import_model(name: str, data: Path, folder: Path) -> Profile | None:
    """Import the newest kernel tables of an A100 for a model.

    Args:
        name: Of the model in the catalogue.
        data: A folder of kernel tables.
        folder: Where the profile is written to.

    Returns:
        The profile; None where the tables lack something of the model, such as 40 heads of keys.
    """
    tables = KernelLibrary.of(data).tables(SYSTEM, BACKEND)
    try:
        return import_kernels(tables, find_model(name), find_device(DEVICE), folder / name)
    except LatencyError:
        return None


def latencies_by_regime(name: str, profile: Profile | None) -> dict[Regime, DeviceLatencies]:
    """Return a model's latencies on the A100 in each regime, heads at its quarters.

    Args:
        name: Of the model in the catalogue.
        profile: Its kernel tables; None takes the datasheet.
    """
    shape, device = find_model(name), find_device(DEVICE)
    reach = {"max_context": LONGEST, "max_tokens": DEFAULT_CAP + 1, "depths": quarters(shape)}
    if profile is None:
        return {
            regime: datasheet_latencies(shape, device, dtype="fp16", regime=regime, **reach)
            for regime in Regime
        }
    return {regime: carried_latencies(profile, device, regime=regime, **reach) for regime in Regime}


def predict_vanilla(stacks: Mapping[str, Mapping[Regime, DeviceLatencies]]) -> list[dict[str, Any]]:
    """Predict vanilla's tokens/s in nine cells of table 2, in each regime."""
    rows = []
    for name, tasks in VANILLA.items():
        found = {
            str(regime): {
                "tokens_per_s": _tokens_per_s(one, "middle"),
                "low": _tokens_per_s(one, "high"),
                "high": _tokens_per_s(one, "low"),
            }
            for regime, one in stacks[name].items()
        }
        eager = stacks[name][Regime.EAGER]
        for task, published in tasks.items():
            error = found["eager"]["tokens_per_s"] / published - 1
            row = {"model": name, "task": task, "published": published, "error": error}
            row |= {"basis": eager.basis, "limited_by": dict(eager.limits)}
            rows.append({**row, "regimes": found})
    return rows


def _tokens_per_s(latencies: DeviceLatencies, corner: str) -> float:
    """Return vanilla's speed in the middle of the outputs, at one end of the latencies."""
    table = latencies.tables.get(corner, latencies.middle)
    n_layers = table.n_layers
    layers = table.layers(0, n_layers, 1, N_PROMPT + OUTPUTS // 2, n_layers)
    return 1 / (layers + table.verify(1) + table.embed(1))


def predict_figure_5(
    fits: Mapping[str, Any], by_regime: Mapping[Regime, DeviceLatencies]
) -> dict[str, Any]:
    """Predict the speedups of figure 5 in each regime.

    Args:
        fits: The fits of `benchmarks.paper`, by name.
        by_regime: Latencies of Llama-3.1-8B.
    """
    n_layers = find_model(LLAMA).n_layers
    designs = [Design.of(gamma=min(gamma, NEVER), placement=PLACEMENT) for gamma in FIGURE_5]
    curves = {
        name: {
            str(regime): speedups(model_of(fit["model"], n_layers, PLACEMENT), one.middle, designs)[
                "speedup"
            ].tolist()
            for regime, one in by_regime.items()
            if regime is Regime.EAGER or name in (BY_RATES, JOINT)
        }
        for name, fit in fits.items()
    }
    rows = []
    for place, (gamma, published) in enumerate(FIGURE_5.items()):
        spread = [curve["eager"][place] for name, curve in curves.items() if name != JOINT]
        rates, joint = (
            {regime: values[place] for regime, values in curves[name].items()}
            for name in (BY_RATES, JOINT)
        )
        row = {"gamma": gamma, "published": published, "rates": rates, "joint": joint}
        row |= {"lowest": min(spread), "highest": max(spread)}
        rows.append({**row, "error": rates["eager"] / published - 1})
    eager = by_regime[Regime.EAGER].middle
    layer = eager.layers(0, 1, 1, N_PROMPT + OUTPUTS // 2, n_layers)
    return {
        "rows": rows,
        "mean_error": float(np.mean([abs(row["error"]) for row in rows])),
        "inside": sum(row["lowest"] <= row["published"] <= row["highest"] for row in rows),
        "layer_s": layer,
        "head_in_layers": eager.head(PLACEMENT[0], n_layers) / layer,
        "limited_by": dict(by_regime[Regime.EAGER].limits),
    }


def predict_table_2(
    fits: Mapping[str, Any], stacks: Mapping[str, Mapping[Regime, DeviceLatencies]]
) -> list[dict[str, Any]]:
    """Predict the nine speedups of table 2 in each regime, all heads as those of figure 5."""
    rows = []
    for name, tasks in ADADECODE.items():
        shape = find_model(name)
        design = [Design.of(gamma=GAMMA, placement=quarters(shape))]
        found = {
            fit: {
                str(regime): float(
                    speedups(
                        model_of(fits[fit]["model"], shape.n_layers, quarters(shape)),
                        one.middle,
                        design,
                    )["speedup"].iloc[0]
                )
                for regime, one in stacks[name].items()
            }
            for fit in (BY_RATES, JOINT)
        }
        for task, published in tasks.items():
            row = {"model": name, "task": task, "published": published}
            row |= {"rates": found[BY_RATES], "joint": found[JOINT]}
            rows.append({**row, "error": found[JOINT]["eager"] / published - 1})
    return rows


def tables_of(results: Mapping[str, Any]) -> list[Table]:
    """Return the tables of the results, for a terminal."""
    regimes = [str(regime) for regime in Regime]
    vanilla = make_table(
        "vanilla's tokens/s",
        "model",
        "task",
        "published",
        *regimes,
        "error",
        words=("model", "task"),
    )
    for row in results["vanilla"]:
        cells = [f"{row['regimes'][regime]['tokens_per_s']:.1f}" for regime in regimes]
        vanilla.add_row(
            row["model"], row["task"], f"{row['published']:.1f}", *cells, f"{row['error']:+.1%}"
        )
    figure_5 = make_table("figure 5", "gamma", "published", *regimes, "error", "fits leave open")
    for row in results["figure_5"]["rows"]:
        cells = [f"{row['rates'][regime]:.2f}" for regime in regimes]
        spread = f"{row['lowest']:.2f} .. {row['highest']:.2f}"
        figure_5.add_row(
            f"{row['gamma']:g}", f"{row['published']:.2f}", *cells, f"{row['error']:+.1%}", spread
        )
    table_2 = make_table(
        "table 2", "model", "task", "published", *regimes, "error", words=("model", "task")
    )
    for row in results["table_2"]:
        cells = [f"{row['joint'][regime]:.2f}" for regime in regimes]
        table_2.add_row(
            row["model"], row["task"], f"{row['published']:.2f}", *cells, f"{row['error']:+.1%}"
        )
    return [vanilla, figure_5, table_2]


def main(arguments: list[str] | None = None) -> None:
    """Predict, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/aiconfigurator"),
        help="kernel tables of AIConfigurator, with the system a100_sxm",
    )
    data: Path = parser.parse_args(arguments).data
    if not (data / SYSTEM).is_dir():
        print(f"skipped: no kernel tables of {SYSTEM} in {data}; name their folder with --data")
        return
    fits = json.loads((RESULTS / "paper.json").read_text("utf-8"))["fits"]
    with tempfile.TemporaryDirectory() as folder:
        stacks = {
            name: latencies_by_regime(name, import_model(name, data, Path(folder)))
            for name in VANILLA
        }
    results = {
        "host_seconds": asdict(HOST_SECONDS),
        "vanilla": predict_vanilla(stacks),
        "figure_5": predict_figure_5(fits, stacks[LLAMA]),
        "table_2": predict_table_2(fits, stacks),
        "tables": f"{SYSTEM}, {BACKEND}",
    }
    write_result("paper_regimes", results)
    Console().print(*tables_of(results))


if __name__ == "__main__":
    main()
