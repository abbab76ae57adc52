"""Synthetic traces held against the recorded one they are fitted to: what designs would do on either.

Each domain of the committed profile is fitted by itself (`adadecode.sim.synthetic.trace_fitting`). Beside one long synthetic trace stand some of the recorded size, which show how
far so little text scatters: a recorded figure within their spread is no evidence against the model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.synthetic.head_model import CORRELATIONS
from adadecode.sim.synthetic.rate_fitting import evaluated
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike, draw, synthetic_trace
from benchmarks.harness import PROFILE, keep

DESIGNS = tuple(
    Design.of(gamma=gamma, placement=placement)
    for gamma, placement in [
        (0.0, (4,)),
        (0.5, (3,)),
        (0.75, (4,)),
        (0.9, (8,)),
        (0.3, (3, 7)),
        (0.5, (3, 7)),
        (0.75, (3, 7)),
        (0.9, (3, 7)),
        (0.7, (2, 5, 9)),
        (0.6, (3, 6, 10)),
        (0.8, (3, 6, 9, 12)),
        (0.75, (1, 3, 5, 7)),
    ]
)
FIGURES = ("early_rate", "reject_rate", "tokens_per_round", "speedup")


def compared(replicas: int) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """A row for each domain, design and figure: recorded, synthetic, low and high (of the replicas); and the fitted correlations by domain."""
    profile = read_profile(PROFILE)
    trace, latency = (
        Trace.from_profile(profile),
        LatencyTable.from_samples(profile.latency, profile.n_layers),
    )
    rows: list[dict[str, Any]] = []
    correlations: dict[str, dict[str, float]] = {}
    for domain in track(
        list(dict.fromkeys(map(trace.domain, trace.prompts))), "domains", transient=True
    ):
        prompts = [prompt for prompt in trace.prompts if trace.domain(prompt) == domain]
        model = fit_trace(trace, prompts)
        correlations[domain] = {name: getattr(model, name) for name in CORRELATIONS}
        sizes = [
            SyntheticPrompt(domain, trace.n_prompt(prompt), trace.n_output(prompt))
            for prompt in prompts
        ]

        def drawn(sizes: Sequence[SyntheticPrompt], seed: int) -> pd.DataFrame:
            return evaluated(synthetic_trace({domain: model}, sizes, seed=seed), latency, DESIGNS)

        recorded = evaluated(trace, latency, DESIGNS, prompts)
        long = drawn(list(islice(cycle(sizes), 64)), 1)
        small = [drawn(sizes, seed) for seed in range(2, 2 + replicas)]
        for place, design in enumerate(DESIGNS):
            for figure in FIGURES:
                values = [frame[figure].iloc[place] for frame in small]
                row = {
                    "domain": domain,
                    "design": design.label,
                    "figure": figure,
                    "low": min(values),
                    "high": max(values),
                }
                rows.append(
                    {
                        **row,
                        "recorded": recorded[figure].iloc[place],
                        "synthetic": long[figure].iloc[place],
                    }
                )
    return pd.DataFrame(rows), correlations


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """By domain and figure: median and 90th percentile of the difference (of a speedup and of tokens per round relative), share within the spread."""
    relative = rows["figure"].isin(["speedup", "tokens_per_round"])
    off = (rows["synthetic"] - rows["recorded"]).abs() / np.where(relative, rows["recorded"], 1.0)
    inside = (rows["low"] <= rows["recorded"]) & (rows["recorded"] <= rows["high"])
    told = rows.assign(off=off, inside=inside)
    parts = [told, told.assign(domain="all")]
    grouped = pd.concat(parts).groupby(["domain", "figure"], sort=False)
    return grouped.agg(
        median=("off", "median"), p90=("off", lambda x: x.quantile(0.9)), inside=("inside", "mean")
    ).reset_index()


def main(arguments: list[str] | None = None) -> None:
    """Fit, draw, compare; how long a million tokens take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=20)
    args = parser.parse_args(arguments)
    rows, correlations = compared(args.replicas)
    told = summary(rows)
    profile = read_profile(PROFILE)
    model = fit_trace(Trace.from_profile(profile))
    begun = time.perf_counter()
    outputs = len(draw({"synthetic": model}, alike(1954, domain="synthetic"))["trace"]) // (
        len(model.depths) + 1
    )
    seconds = time.perf_counter() - begun
    keep(
        "synthetic",
        {
            "summary": told.to_dict("records"),
            "correlations": correlations,
            "rows": rows.to_dict("records"),
            "draw": {"outputs": outputs, "heads": len(model.depths), "seconds": seconds},
        },
    )
    table = Table(
        title=f"synthetic against recorded, {len(DESIGNS)} designs of each domain",
        title_justify="left",
    )
    for name in (
        "domain",
        "figure",
        "median difference",
        "90th percentile",
        f"within {args.replicas} of the same size",
    ):
        table.add_column(name, justify="left" if name in {"domain", "figure"} else "right")
    for row in told.to_dict("records"):
        table.add_row(
            row["domain"],
            row["figure"],
            f"{row['median']:.1%}",
            f"{row['p90']:.1%}",
            f"{row['inside']:.0%}",
        )
    fits = Table(title="fitted correlations", title_justify="left")
    for name in ("domain", *CORRELATIONS):
        fits.add_column(name, justify="left" if name == "domain" else "right")
    for domain, values in correlations.items():
        fits.add_row(domain, *(f"{values[name]:.2f}" for name in CORRELATIONS))
    console = Console()
    console.print(table, fits)
    console.print(f"{outputs:,} outputs of {len(model.depths)} heads drawn in {seconds:.1f} s")


if __name__ == "__main__":
    main()
