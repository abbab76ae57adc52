"""Find latency samples that lie far from the others of their kind.

A profile keeps them as they were measured; reports show them.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

FAR = 3.0
"""A sample is an outlier this many interquartile ranges beyond the quartiles: Tukey's "far out"."""
LEAST = 4
"""Fewer samples of one piece of work than this have no quartiles worth the name."""

_SAME = ["kind", "layer", "n_tokens", "context", "reuse"]


def outliers(latency: pd.DataFrame) -> list[dict[str, Any]]:
    """Count the outliers of each kind of work.

    A sample is compared with others of the same work: the same layer, batch, context and reuse.

    Args:
        latency: The table ``latency`` of a profile.

    Returns:
        For each kind, in the order of the table: ``kind``, ``samples``, ``judged`` (those of work
        with `LEAST` samples or more), ``beyond`` (the outliers), and ``above`` and ``below``, the
        furthest of them as ratios to their medians, or None.
    """
    found = []
    work = latency.groupby(_SAME, sort=False)["seconds"]
    spread = pd.DataFrame(
        {
            "count": work.size(),
            "low": work.quantile(0.25),
            "middle": work.median(),
            "high": work.quantile(0.75),
        }
    )
    compared = latency[[*_SAME, "seconds"]].join(spread, on=_SAME)
    reach = FAR * (compared["high"] - compared["low"])
    judged = compared["count"] >= LEAST
    beyond = judged & (
        (compared["seconds"] > compared["high"] + reach)
        | (compared["seconds"] < compared["low"] - reach)
    )
    for kind in compared["kind"].unique():
        own = compared["kind"] == kind
        ratios = (compared["seconds"] / compared["middle"])[own & beyond]
        above, below = ratios[ratios > 1], ratios[ratios < 1]
        found.append(
            {
                "kind": str(kind),
                "samples": int(own.sum()),
                "judged": int((own & judged).sum()),
                "beyond": len(ratios),
                "above": float(above.max()) if len(above) else None,
                "below": float(below.min()) if len(below) else None,
            }
        )
    return found
