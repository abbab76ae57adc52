"""Predict AdaDecode and vanilla for Llama-3.1-8B on every device of the catalogue, in each regime.

Two texts: the demo model's, with its heads at twice their depths; and synthetic heads at the rates
of the paper's figure 5. Where kernel tables of a device are at hand, its latencies come from them;
elsewhere from its datasheet alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from adadecode.profiles.catalog.devices import catalogue, find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.design import Policy
from adadecode.sim.hardware.importers.aiconfigurator import import_kernels, system_device
from adadecode.sim.hardware.importers.llmservingsim import import_llmservingsim
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.prediction.scenario import ScenarioOptions, find_scenario
from adadecode.sim.sweep.design_sweep import sweep
from adadecode.sim.sweep.plan import RECORDED
from adadecode.sim.sweep.space import Space
from adadecode.sim.synthetic.synthetic_profile import write_synthetic
from adadecode.sim.synthetic.trace_generator import alike
from benchmarks.harness import PROFILE, RESULTS, make_table, write_result
from benchmarks.paper_regimes import JOINT, model_of
from benchmarks.published import PLACEMENT

MODEL = "llama-3.1-8b"

SYSTEMS = ("a100_sxm", "h100_sxm", "h200_sxm")
"""Systems whose tables of AIConfigurator are read where they are at hand."""

SERVED = "RTX4090/Llama-3.1-8B/profile"
"""The tables of LLMServingSim, of an RTX 4090."""

DEMO_HEADS = (1, 3, 5, 7, 9, 11)
"""Heads of the demo model to choose from; deeper ones were never the best in a first run."""

GAMMAS = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)

SPACE = Space(policies=(Policy.ADADECODE, Policy.VANILLA), gammas=GAMMAS, max_heads=3)

KEPT = (
    "design", "placement", "gammas", "tpot_s", "tpot_low", "tpot_high", "speedup", "speedup_low",
    "speedup_high", "energy_j_per_token", "energy_low", "energy_high", "energy_over_vanilla",
    "energy_over_low", "energy_over_high",
)  # fmt: skip
"""Columns of the result that describe the best design on each device."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text with its heads, where they stand in the model."""

    name: str
    profile: Profile
    domain: str
    heads_at: Mapping[int, int] | None


def read_texts(folder: Path) -> list[Text]:
    """Return the two texts; the synthetic one is written into a folder."""
    demo = read_profile(PROFILE)
    n_layers = find_model(MODEL).n_layers
    heads_at = {depth: depth * n_layers // demo.n_layers for depth in DEMO_HEADS}
    fit = json.loads((RESULTS / "paper.json").read_text("utf-8"))["fits"][JOINT]
    heads = {"paper": model_of(fit["model"], n_layers, PLACEMENT)}
    prompts = alike(12, domain="paper", n_prompt=128, n_output=256)
    synthetic, _ = write_synthetic(folder / "synthetic", heads, prompts, seed=1)
    return [
        Text(name="demo", profile=demo, domain="arithmetic", heads_at=heads_at),
        Text(name="paper", profile=synthetic, domain="paper", heads_at=None),
    ]


def import_tables(data: Path, folder: Path) -> dict[str, Profile]:
    """Return a profile of every device whose kernel tables are at hand, by its name.

    Args:
        data: The folder of ``aiconfigurator`` and ``llmservingsim``.
        folder: Where the profiles are written to.
    """
    found = {}
    tables = data / "aiconfigurator"
    for system in SYSTEMS:
        if (tables / system).is_dir():
            device = system_device(system)
            kernels = KernelLibrary.of(tables).tables(system, "vllm")
            found[device.name] = import_kernels(
                kernels, find_model(MODEL), device, folder / device.name
            )
    served = data / "llmservingsim" / SERVED
    if served.is_dir():
        found["rtx-4090"] = import_llmservingsim(
            served, folder / "rtx-4090", find_model(MODEL), find_device("rtx-4090")
        )
    return found


def predict_regime(
    text: Text, regime: Regime, tables: Mapping[str, Profile]
) -> Iterator[dict[str, Any]]:
    """Yield the best design on each device in one regime, or why there is none.

    Args:
        text: The text.
        regime: How kernels are started.
        tables: Kernel tables of devices, where they are at hand.
    """
    shared = {"text": text.name, "regime": str(regime)}
    fitting, refused = [], {}
    for name in catalogue():
        options = ScenarioOptions(device=name, model=MODEL, regime=str(regime))
        try:
            find_scenario(None, options, trace=text.profile, heads_at=text.heads_at)
        except DeviceError as error:
            refused[name] = str(error)
        else:
            fitting += [] if name in tables else [name]
    found = _swept(None, fitting, text, ScenarioOptions(model=MODEL, regime=str(regime)))
    for profile in tables.values():
        found |= _swept(profile, [RECORDED], text, ScenarioOptions(regime=str(regime)))
    for name in catalogue():
        why = {"refused": refused[name]} if name in refused else found[name]
        yield {"device": name, **shared, **why}


def _swept(
    profile: Profile | None, devices: Sequence[str], text: Text, options: ScenarioOptions
) -> dict[str, dict[str, Any]]:
    """Return what is kept of the best design on each device, by its name."""
    done = sweep(
        profile,
        SPACE,
        devices=devices,
        options=options,
        trace=text.profile,
        heads_at=text.heads_at,
        domain=text.domain,
        threads=1,
    )
    return {
        about["device"]: _best(done.best(about["device"]), about) for about in done.about["devices"]
    }


def _best(best: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: best[name] for name in KEPT}
    return {
        "basis": about["basis"],
        "limited_by": about["limited_by"],
        "vanilla_s": best["tpot_s"] * best["speedup"],
        **kept,
    }


def rows_of(texts: Sequence[Text], tables: Mapping[str, Profile]) -> Iterator[dict[str, Any]]:
    """Yield a row for each text, regime and device."""
    cases = [(text, regime) for text in texts for regime in Regime]
    for text, regime in track(cases, "every device", transient=True):
        yield from predict_regime(text, regime, tables)


def table_of(rows: Sequence[Mapping[str, Any]], text: str, regime: str) -> Table:
    """Return one text in one regime as a table, for a terminal."""
    table = make_table(
        f"{text}, {regime}",
        *("device", "basis", "vanilla ms", "best ms", "speedup", "interval", "J", "over vanilla"),
        "design",
        words=("device", "basis", "design"),
    )
    for row in rows:
        if (row["text"], row["regime"]) != (text, regime):
            continue
        if "refused" in row:
            table.add_row(row["device"], "", "", "", "", "", "", "", row["refused"][:40])
            continue
        table.add_row(
            row["device"],
            row["basis"],
            f"{row['vanilla_s'] * 1e3:.2f}",
            f"{row['tpot_s'] * 1e3:.2f}",
            f"{row['speedup']:.2f}",
            _interval(row, "speedup"),
            "" if row["energy_j_per_token"] is None else f"{row['energy_j_per_token']:.2f}",
            _interval(row, "energy_over"),
            row["design"],
        )
    return table


def _interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None or high is None else f"{low:.2f} .. {high:.2f}"


def main(arguments: list[str] | None = None) -> None:
    """Predict, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        help="kernel tables; without them every device is predicted from its datasheet",
    )
    data: Path = parser.parse_args(arguments).data
    with tempfile.TemporaryDirectory() as folder:
        texts = read_texts(Path(folder))
        rows = list(rows_of(texts, import_tables(data, Path(folder))))
    write_result("every_device", {"model": MODEL, "rows": rows, "gammas": list(GAMMAS)})
    console = Console()
    for text in texts:
        for regime in Regime:
            console.print(table_of(rows, text.name, str(regime)))


if __name__ == "__main__":
    main()
