"""Latency samples that lie far from the others of their kind: kept in a profile as they were measured, and shown."""

from __future__ import annotations

from typing import Any

import pandas as pd

FAR = 3.0
"""Interquartile ranges beyond the quartiles from which on a sample is an outlier: Tukey's "far out"."""
LEAST = 4
"""Samples of one piece of work, fewer of which have no quartiles worth the name."""

_SAME = ["kind", "layer", "n_tokens", "context", "reuse"]


def outliers(latency: pd.DataFrame) -> list[dict[str, Any]]:
    """By kind, in the table's order: samples, of them judged (of work with `LEAST` or more), beyond, and those furthest above and below, as ratios to their medians.

    latency: as in `adadecode.profiles.schema`. A sample is held against others of the same work: layer, batch, context and reuse.
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
    told = latency[[*_SAME, "seconds"]].join(spread, on=_SAME)
    reach = FAR * (told["high"] - told["low"])
    judged = told["count"] >= LEAST
    beyond = judged & (
        (told["seconds"] > told["high"] + reach) | (told["seconds"] < told["low"] - reach)
    )
    for kind in told["kind"].unique():
        own = told["kind"] == kind
        ratios = (told["seconds"] / told["middle"])[own & beyond]
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
