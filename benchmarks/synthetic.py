"""Compare synthetic traces with the recorded one they are fitted to: what designs do on either.

Each domain of the committed profile is fitted by itself (`adadecode.sim.synthetic.trace_fitting`).
One long synthetic trace is compared, and some of the recorded size, which show how far so little
text scatters: a recorded figure within their spread is no evidence against the model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.synthetic.head_model import CORRELATIONS, HeadModel
from adadecode.sim.synthetic.rate_fitting import evaluated
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike, draw, synthetic_trace
from benchmarks.harness import PROFILE, make_table, write_result

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
LONG_PROMPTS = 64
"""Prompts of the long synthetic trace."""
DRAWN_PROMPTS = 1954
"""Prompts of the trace whose drawing is timed: about a million tokens of all heads."""


def compare_domains(
    profile: Profile, replicas: int
) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Compare each domain with synthetic traces fitted to it.

    Args:
        profile: The recorded profile.
        replicas: Number of synthetic traces of the recorded size.

    Returns:
        A row for each domain, design and figure (recorded; synthetic; low and high of the
        replicas); and the fitted correlations by domain.
    """
    trace = Trace.from_profile(profile)
    latency = LatencyTable.from_samples(profile.latency, profile.n_layers)
    rows: list[dict[str, Any]] = []
    correlations: dict[str, dict[str, float]] = {}
    domains = list(dict.fromkeys(map(trace.domain, trace.prompts)))
    for domain in track(domains, "domains", transient=True):
        prompts = [prompt for prompt in trace.prompts if trace.domain(prompt) == domain]
        model = fit_trace(trace, prompts)
        correlations[domain] = {name: getattr(model, name) for name in CORRELATIONS}
        rows += compare_domain(domain, model, trace, prompts, latency, replicas)
    return pd.DataFrame(rows), correlations


def compare_domain(
    domain: str,
    model: HeadModel,
    trace: Trace,
    prompts: Sequence[int],
    latency: LatencyTable,
    replicas: int,
) -> list[dict[str, Any]]:
    """Return a row for each design and figure of one domain.

    Args:
        domain: Its name.
        model: Fitted to it.
        trace: The recorded trace.
        prompts: Of the domain.
        latency: Of the recorded machine.
        replicas: Number of synthetic traces of the recorded size.
    """
    sizes = [
        SyntheticPrompt(domain, trace.n_prompt(prompt), trace.n_output(prompt))
        for prompt in prompts
    ]

    def evaluate_synthetic(sizes: Sequence[SyntheticPrompt], seed: int) -> pd.DataFrame:
        return evaluated(synthetic_trace({domain: model}, sizes, seed=seed), latency, DESIGNS)

    recorded = evaluated(trace, latency, DESIGNS, prompts)
    long = evaluate_synthetic(list(islice(cycle(sizes), LONG_PROMPTS)), 1)
    small = [evaluate_synthetic(sizes, seed) for seed in range(2, 2 + replicas)]
    rows = []
    for index, design in enumerate(DESIGNS):
        for figure in FIGURES:
            values = [frame[figure].iloc[index] for frame in small]
            row = {
                "domain": domain,
                "design": design.label,
                "figure": figure,
                "low": min(values),
                "high": max(values),
                "recorded": recorded[figure].iloc[index],
                "synthetic": long[figure].iloc[index],
            }
            rows.append(row)
    return rows


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the differences by domain and figure, and of all domains.

    Columns are the median and 90th percentile of the difference (relative for a speedup and for
    tokens per round), and the share of recorded figures within the spread of the replicas.
    """
    relative = rows["figure"].isin(["speedup", "tokens_per_round"])
    scale = np.where(relative, rows["recorded"], 1.0)
    rows = rows.assign(
        off=(rows["synthetic"] - rows["recorded"]).abs() / scale,
        inside=(rows["low"] <= rows["recorded"]) & (rows["recorded"] <= rows["high"]),
    )
    parts = [rows, rows.assign(domain="all")]
    grouped = pd.concat(parts).groupby(["domain", "figure"], sort=False)
    return grouped.agg(
        median=("off", "median"), p90=("off", lambda x: x.quantile(0.9)), inside=("inside", "mean")
    ).reset_index()


def time_drawing(model: HeadModel) -> dict[str, Any]:
    """Time the drawing of `DRAWN_PROMPTS` prompts: outputs, heads and seconds."""
    began = time.perf_counter()
    drawn = draw({"synthetic": model}, alike(DRAWN_PROMPTS, domain="synthetic"))
    outputs = len(drawn["trace"]) // (len(model.depths) + 1)
    seconds = time.perf_counter() - began
    return {"outputs": outputs, "heads": len(model.depths), "seconds": seconds}


def main(arguments: list[str] | None = None) -> None:
    """Fit, draw and compare, and time how long a million tokens take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=20)
    options = parser.parse_args(arguments)
    profile = read_profile(PROFILE)
    rows, correlations = compare_domains(profile, options.replicas)
    summary = summarize(rows)
    drawing = time_drawing(fit_trace(Trace.from_profile(profile)))
    write_result(
        "synthetic",
        {
            "summary": summary.to_dict("records"),
            "correlations": correlations,
            "rows": rows.to_dict("records"),
            "draw": drawing,
        },
    )
    console = Console()
    console.print(summary_table(summary, options.replicas), correlation_table(correlations))
    console.print(
        f"{drawing['outputs']:,} outputs of {drawing['heads']} heads "
        f"drawn in {drawing['seconds']:.1f} s"
    )


def summary_table(summary: pd.DataFrame, replicas: int) -> Table:
    """Return what `summarize` found as a table."""
    table = make_table(
        f"synthetic against recorded, {len(DESIGNS)} designs of each domain",
        "domain",
        "figure",
        "median difference",
        "90th percentile",
        f"within {replicas} of the same size",
        words=("domain", "figure"),
    )
    for row in summary.to_dict("records"):
        table.add_row(
            row["domain"],
            row["figure"],
            f"{row['median']:.1%}",
            f"{row['p90']:.1%}",
            f"{row['inside']:.0%}",
        )
    return table


def correlation_table(correlations: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the fitted correlations by domain as a table."""
    table = make_table("fitted correlations", "domain", *CORRELATIONS, words=("domain",))
    for domain, values in correlations.items():
        table.add_row(domain, *(f"{values[name]:.2f}" for name in CORRELATIONS))
    return table


if __name__ == "__main__":
    main()
