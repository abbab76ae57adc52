"""Predict designs that were not recorded, and compare with runs made here and now.

The recorder runs the designs on the profile's own prompts, in turn with vanilla, which only serves
as the base of speedups. The latencies, the trace and the branches that predict them are those of
the profile.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from adadecode.profiles.store import read_profile
from adadecode.sim.cli.tables.validation import validation_tables
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.measurements.runs import timed_runs
from adadecode.sim.validation.tiers import validate
from benchmarks.harness import PROFILE, write_result
from benchmarks.measuring import measure_designs

DESIGNS = tuple(
    Design.of(gamma=gamma, placement=placement)
    for gamma, placement in [
        (0.4, (2,)),
        (0.95, (3,)),
        (0.6, (5,)),
        (0.85, (6,)),
        (0.7, (9,)),
        (0.65, (2, 5)),
        (0.85, (3, 7)),
        (0.4, (5, 11)),
        (0.8, (2, 4, 6)),
        (0.6, (3, 6, 10)),
        (0.9, (1, 3, 5, 7)),
        ((0.9, 0.6), (3, 10)),
    ]
)


def main(arguments: list[str] | None = None) -> None:
    """Measure designs that were not recorded, predict them and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=6)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    profile = read_profile(PROFILE)
    assert not {design for design, _ in timed_runs(profile)} & set(DESIGNS)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_designs(profile, DESIGNS, Path(folder), options.repeats)
        comparison = validate(measured)
    cells = comparison.cells[comparison.cells["policy"] != str(Policy.VANILLA)]
    comparison = replace(comparison, cells=cells)
    write_result(
        "off_design",
        {
            "designs_not_recorded": len(DESIGNS),
            "prompts": int(cells["prompt"].nunique()),
            "runs_of_each": options.repeats,
            "modelled_share": float(cells["modelled"].mean()),
            **comparison.to_dict(),
            "cells": cells.replace({np.nan: None}).to_dict("records"),
        },
    )
    Console().print(*validation_tables(comparison))


if __name__ == "__main__":
    main()
