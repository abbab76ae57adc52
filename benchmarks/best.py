"""The best design that a sweep finds, run on the engine: what was predicted, what is measured, and what another choice would have given.

The sweep goes through every design of up to three heads on the profile's arithmetic prompts. Twenty designs are then run in turn with vanilla on the same
prompts: the best, nine that the sweep ranks next (each with another placement), and ten drawn from all of its ranking.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from adadecode.profiles.store import read_profile
from adadecode.sim.prediction.scenario import find_scenario
from adadecode.sim.sweep.devices import evaluator_of
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.runner import SweepPlan, design_of, run_sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.validation.tiers import validate
from benchmarks.harness import PROFILE, keep
from benchmarks.measuring import measured

DOMAIN = "arithmetic"
NEXT, DRAWN = 9, 10


def chosen_designs(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The best row, the best ones of the next placements, and rows from all over the ranking, best first."""
    ranked = rows.sort_values("tpot_s", kind="stable").reset_index(drop=True)
    top = ranked.drop_duplicates("placement").head(1 + NEXT)
    rest = ranked.drop(top.index)
    places = np.sort(np.random.default_rng(seed).choice(len(rest), DRAWN, replace=False))
    return pd.concat([top, rest.iloc[places]], ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    """Sweep, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=6)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    profile, console = read_profile(PROFILE), Console()
    evaluator = evaluator_of([find_scenario(profile)], DOMAIN, 5, None)
    plan = SweepPlan(
        space=Space.among(profile.depths, profile.n_layers), objectives=("tpot",), sources={}
    )
    count = len(evaluator.prompts)
    assert evaluator.prompts == tuple(range(count)), "the prompts of the domain come first"
    with tempfile.TemporaryDirectory() as folder:
        with workers(evaluator) as submit:
            rows = run_sweep(plan, evaluator, submit, Path(folder) / "sweep", {}).designs
        chosen = chosen_designs(rows)
        recorded = measured(
            profile,
            [design_of(row) for row in chosen.to_dict("records")],
            Path(folder),
            args.repeats,
            count,
        )
        comparison = validate(recorded)
    cells = comparison.cells
    over = cells.groupby("design", sort=False).agg(
        speedup=("speedup", "mean"), predicted=("predicted_speedup", "mean"), exact=("exact", "all")
    )
    over = over.loc[chosen["design"]]  # the best first
    over["error"] = over["predicted"] / over["speedup"] - 1
    best = over.iloc[0]
    table = Table(
        "design",
        "predicted",
        "measured",
        "error",
        title=f"{len(over)} designs of a sweep of {len(rows):,}, {count} prompts, {args.repeats} repeats",
    )
    for label, row in over.iterrows():
        table.add_row(
            str(label),
            f"{row['predicted']:.2f} x",
            f"{row['speedup']:.2f} x",
            f"{row['error']:+.1%}",
        )
    console.print(table)
    regret = float(over["speedup"].max() / best["speedup"] - 1)
    console.print(
        f"regret of the sweep's best against the best measured, {over['speedup'].idxmax()}: {regret:.1%}"
    )
    result = {
        "swept": len(rows), "prompts": count, "repeats": args.repeats, "regret": regret, "best_measured": str(over["speedup"].idxmax()),
        "median_error": float(over["error"].abs().median()), "rank_correlation": float(over["predicted"].corr(over["speedup"], method="spearman")),
        "designs": over.reset_index().to_dict("records"), "structure": comparison.to_dict()["structure"],
    }  # fmt: skip
    console.print(
        f"median error {result['median_error']:.1%}, rank correlation {result['rank_correlation']:.3f}"
    )
    keep("best", result)


if __name__ == "__main__":
    main()
