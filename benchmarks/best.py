"""Run the best design that a sweep finds: predicted, measured, and against other choices.

The sweep goes through every design of up to three heads on the profile's arithmetic prompts. Twenty
designs are then run in turn with vanilla on the same prompts: the best, the nine that the sweep
ranks next (each with another placement), and ten drawn from all of its ranking.
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

from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.sweep.best_design import design_of
from adadecode.sim.sweep.design_sweep import sweep
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate
from benchmarks.harness import PROFILE, make_table, write_result
from benchmarks.measuring import measure_designs

DOMAIN = "arithmetic"
NEXT, DRAWN = 9, 10
"""Designs that the sweep ranks after the best, and designs drawn from the whole ranking."""


def choose_designs(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return the rows of the designs to run, best first.

    They are the best row, the best ones of the next placements, and rows from the whole ranking.
    """
    ranked = rows.sort_values("tpot_s", kind="stable").reset_index(drop=True)
    top = ranked.drop_duplicates("placement").head(1 + NEXT)
    rest = ranked.drop(top.index)
    positions = np.sort(np.random.default_rng(seed).choice(len(rest), DRAWN, replace=False))
    return pd.concat([top, rest.iloc[positions]], ignore_index=True)


def sweep_and_measure(
    profile: Profile, repeats: int
) -> tuple[pd.DataFrame, pd.DataFrame, int, Validation]:
    """Sweep the profile, and run the chosen designs.

    Returns:
        The sweep's rows, those of the chosen designs, the number of prompts, and the comparison of
        the runs with the simulator.
    """
    swept = sweep(profile, domain=DOMAIN)
    rows, prompts = swept.designs, swept.about["prompts"]["chosen"]
    count = len(prompts)
    assert prompts == list(range(count)), "the prompts of the domain come first"
    with tempfile.TemporaryDirectory() as folder:
        chosen = choose_designs(rows)
        designs = [design_of(row) for row in chosen.to_dict("records")]
        measured = measure_designs(profile, designs, Path(folder), repeats, count)
        return rows, chosen, count, validate(measured)


def compare(cells: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """Return speedup, prediction and error of each design, the sweep's best first."""
    designs = cells.groupby("design", sort=False).agg(
        speedup=("speedup", "mean"), predicted=("predicted_speedup", "mean"), exact=("exact", "all")
    )
    designs = designs.loc[chosen["design"]]
    designs["error"] = designs["predicted"] / designs["speedup"] - 1
    return designs


def design_table(designs: pd.DataFrame, title: str) -> Table:
    """Return the comparison of designs as a table."""
    table = make_table(title, "design", "predicted", "measured", "error", words=("design",))
    for label, row in designs.iterrows():
        table.add_row(
            str(label),
            f"{row['predicted']:.2f} x",
            f"{row['speedup']:.2f} x",
            f"{row['error']:+.1%}",
        )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Sweep, run the best designs on the engine, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=6)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    profile, console = read_profile(PROFILE), Console()
    rows, chosen, count, comparison = sweep_and_measure(profile, options.repeats)
    designs = compare(comparison.cells, chosen)
    title = (
        f"{len(designs)} designs of a sweep of {len(rows):,}, {count} prompts, "
        f"{options.repeats} repeats"
    )
    console.print(design_table(designs, title))
    fastest = str(designs["speedup"].idxmax())
    regret = float(designs["speedup"].max() / designs.iloc[0]["speedup"] - 1)
    console.print(f"regret of the sweep's best against the best measured, {fastest}: {regret:.1%}")
    rank_correlation = designs["predicted"].corr(designs["speedup"], method="spearman")
    result = {
        "swept": len(rows),
        "prompts": count,
        "repeats": options.repeats,
        "regret": regret,
        "best_measured": fastest,
        "median_error": float(designs["error"].abs().median()),
        "rank_correlation": float(rank_correlation),
        "designs": designs.reset_index().to_dict("records"),
        "structure": comparison.to_dict()["structure"],
    }
    console.print(
        f"median error {result['median_error']:.1%}, rank correlation {rank_correlation:.3f}"
    )
    write_result("best", result)


if __name__ == "__main__":
    main()
