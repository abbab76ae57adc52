"""Latency samples far from the others, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group

from adadecode.sim.cli.tables.layout import table, titled
from adadecode.sim.core.number_format import UNKNOWN, percent, times
from adadecode.sim.measurements.outliers import FAR

_CAPTIONS = (
    "all are kept in the profile",
    "latencies are means over the middle half of the visits, each kept or dropped whole",
)


def outlier_table(rows: Iterable[Mapping[str, Any]]) -> Group:
    """Return a row for each kind of work.

    Args:
        rows: What `adadecode.sim.measurements.outliers.outliers` found.
    """
    body = table("work", "samples", "beyond", "share", "furthest above", "furthest below")
    for row in rows:
        judged = bool(row["judged"])
        body.add_row(
            row["kind"],
            f"{row['samples']}",
            f"{row['beyond']}" if judged else UNKNOWN,
            percent(row["beyond"] / row["judged"] if judged else None, 2),
            *(_ratio(row[name]) for name in ("above", "below")),
        )
    return titled(
        f"latency samples beyond {FAR:g} interquartile ranges of their quartiles",
        body,
        _CAPTIONS,
    )


def _ratio(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{times(ratio)} median"
