"""Layers carried between all devices of some kernel tables, for people."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from rich.console import Group
from rich.text import Text

from adadecode.sim.cli.tables.layout import table, titled
from adadecode.sim.hardware.transfer_matrix import Matrix

_FIGURES = ("median_error", "p90_error", "coverage", "mean_width")


def matrix_table(matrix: Matrix, rule: str) -> Group:
    """Return a row for each model, under its pair of devices, and a caption on all of them.

    Args:
        matrix: The comparison.
        rule: How the layers were carried.
    """
    body = table(
        "devices",
        "model",
        *("median", "90 %", "covered", "width"),
        texts=("model",),
        names=True,
    )
    for (source, target), pairs in groupby(matrix.pairs, lambda one: (one.source, one.target)):
        models = list(pairs)
        for place, pair in enumerate(models):
            row = pair.to_dict()
            errors = [f"{row[name]:.1%}" for name in _FIGURES[:2]]
            intervals = [f"{row['coverage']:.0%}", f"{row['mean_width']:.1%}"]
            body.add_row(
                "" if place else Text(f"{source}\nto {target}"),
                pair.model,
                *errors,
                *intervals,
                end_section=pair is models[-1],
            )
    median, p90, coverage, width = (
        np.mean([float(pair.to_dict()[name]) for pair in matrix.pairs]) for name in _FIGURES
    )
    whole = (
        f"on average: median error {median:.1%}, 90 % within {p90:.1%}, {coverage:.0%} "
        f"covered, width {width:.1%}"
    )
    return titled(
        f"products of one decoder layer, carried by {rule}",
        body,
        [
            (
                "median and 90 %: half and nine in ten of the errors are no larger; width: half "
                "the interval over the prediction, in the mean"
            ),
            whole,
        ],
    )
