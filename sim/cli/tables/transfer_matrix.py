"""Layers carried between all devices of some kernel tables, for people."""

from __future__ import annotations

import numpy as np
from rich.console import Group

from adadecode.sim.cli.tables.layout import table, titled
from adadecode.sim.hardware.transfer_matrix import Matrix

_FIGURES = ("median_error", "p90_error", "coverage", "mean_width")


def matrix_table(matrix: Matrix, rule: str) -> Group:
    """Return a row for each pair and model, and a caption on all of them.

    Args:
        matrix: The comparison.
        rule: How the layers were carried.
    """
    body = table(
        "from",
        "to",
        "model",
        *("median error", "90th percentile", "covered", "mean width"),
        texts=("to", "model"),
    )
    for pair in matrix.pairs:
        row = pair.to_dict()
        errors = [f"{row[name]:.1%}" for name in _FIGURES[:2]]
        intervals = [f"{row['coverage']:.0%}", f"{row['mean_width']:.1%}"]
        body.add_row(pair.source, pair.target, pair.model, *errors, *intervals)
    median, p90, coverage, width = (
        np.mean([float(pair.to_dict()[name]) for pair in matrix.pairs]) for name in _FIGURES
    )
    whole = (
        f"on average: median error {median:.1%}, 90th percentile {p90:.1%}, {coverage:.0%} "
        f"covered, width {width:.1%}"
    )
    return titled(
        f"products of one decoder layer, carried by {rule}",
        body,
        ["width: half the interval over the prediction", whole],
    )
