"""Latency samples that lie far from the others of their kind: kept in a profile as they were measured, and shown."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table

FAR = 3.0
"""Interquartile ranges beyond the quartiles from which on a sample is an outlier: Tukey's "far out"."""
LEAST = 4
"""Samples of one piece of work, fewer of which have no quartiles worth the name."""

_SAME = ["kind", "layer", "n_tokens", "context", "reuse"]


def outliers(latency: pd.DataFrame) -> list[dict[str, Any]]:
    """By kind, in the table's order: samples, of them judged (of work with `LEAST` or more), beyond, and the largest and least ratio of one beyond to its median.

    latency: as in `profiles.schema`. A sample is held against others of the same work: layer, batch, context and reuse.
    """
    found = []
    work = latency.groupby(_SAME, sort=False)["seconds"]
    spread = pd.DataFrame({"count": work.size(), "low": work.quantile(0.25), "middle": work.median(), "high": work.quantile(0.75)})
    told = latency[[*_SAME, "seconds"]].join(spread, on=_SAME)
    reach = FAR * (told["high"] - told["low"])
    judged = told["count"] >= LEAST
    beyond = judged & ((told["seconds"] > told["high"] + reach) | (told["seconds"] < told["low"] - reach))
    for kind in told["kind"].unique():
        own = told["kind"] == kind
        ratios = (told["seconds"] / told["middle"])[own & beyond]
        found.append(
            {
                "kind": str(kind),
                "samples": int(own.sum()),
                "judged": int((own & judged).sum()),
                "beyond": len(ratios),
                "largest": float(ratios.max()) if len(ratios) else None,
                "least": float(ratios.min()) if len(ratios) else None,
            }
        )
    return found


def outlier_table(rows: list[dict[str, Any]]) -> Table:
    """The same for people."""
    table = Table(title=f"latency samples beyond {FAR:g} interquartile ranges of their quartiles", title_justify="left")
    for name in ("work", "samples", "beyond", "share", "largest / median", "least / median"):
        table.add_column(name, justify="left" if name == "work" else "right")
    for row in rows:
        share = f"{row['beyond'] / row['judged']:.2%}" if row["judged"] else "-"
        ratios = ("-" if row[name] is None else f"{row[name]:.2f}" for name in ("largest", "least"))
        table.add_row(row["kind"], str(row["samples"]), str(row["beyond"]) if row["judged"] else "-", share, *ratios)
    table.caption = "kept as they are: latencies are means of the middle half"
    return table
