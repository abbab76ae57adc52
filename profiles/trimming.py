"""Find the visits of a recording that show the machine as it usually is.

A recording comes back to the points of the latency table in many visits (the column ``repeat``),
each about as long as a short run. The time of a run is a sum, and only means add up. But what
disturbs a shared machine lasts longer than one piece of work: it slows a visit, or a run, as a
whole. So visits are kept or dropped as a whole, and the samples of those that are kept are
averaged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FEW_VISITS = 4
"""Fewer visits than this have no middle half: all of them are kept."""


def usual_visits(latency: pd.DataFrame, points: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return which samples belong to the middle half of the visits.

    Visits are ordered by how long they took for what they measured, among those at the same
    contexts. A point that only dropped visits measured keeps all its samples. Fewer than four
    visits are all kept.

    Args:
        latency: The table ``latency`` of a profile.
        points: For each row, the number of the point that it is a sample of.

    Returns:
        For each row, whether it is kept.
    """
    if latency["repeat"].nunique() < FEW_VISITS:
        return np.ones(len(latency), dtype=bool)
    seconds = latency["seconds"]
    usual = seconds.groupby(points).transform("mean")
    visits = pd.DataFrame({"seconds": seconds, "usual": usual}).groupby(latency["repeat"]).sum()
    visits["level"] = visits["seconds"] / visits["usual"]
    visits["contexts"] = (
        latency["context"]
        .groupby(latency["repeat"])
        .agg(lambda contexts: str(sorted(set(contexts))))
    )
    place = visits.groupby("contexts")["level"].rank(method="first")
    count = visits.groupby("contexts")["level"].transform("size")
    middle = (place > count // 4) & (place <= count - count // 4)
    kept = latency["repeat"].map(middle).to_numpy(dtype=bool)
    lost = ~pd.Series(kept).groupby(points).transform("any").to_numpy(dtype=bool)
    answer: NDArray[np.bool_] = kept | lost
    return answer
