"""Which designs no other beats in everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pareto_front(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[rows] whether no other row is as low in every column of ``costs`` and lower in one. Equal rows stay together; a row with NaN is never on it."""
    front = np.zeros(len(costs), dtype=np.bool_)
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    order = known[np.lexsort(costs[known].T[::-1])]  # whoever beats a row comes before it
    kept = np.empty((0, costs.shape[1]))
    for row in order.tolist():
        beaten = ((kept <= costs[row]).all(axis=1) & (kept < costs[row]).any(axis=1)).any()
        if not beaten:
            front[row] = True
            kept = np.vstack([kept, costs[row]])
    return front
