"""The Pareto front: which designs no other beats in everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pareto_front(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the rows that no other row beats.

    A row beats another if it is as low in every column and lower in one. Equal rows stay together.

    Args:
        costs: What is to be made small, shape ``(rows, objectives)``.

    Returns:
        Whether each row is on the front, shape ``(rows,)``; a row with NaN never is.
    """
    front = np.zeros(len(costs), dtype=np.bool_)
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    order = known[np.lexsort(costs[known].T[::-1])]  # a row comes after those that beat it
    kept = np.empty((0, costs.shape[1]))
    for row in order.tolist():
        beaten = ((kept <= costs[row]).all(axis=1) & (kept < costs[row]).any(axis=1)).any()
        if not beaten:
            front[row] = True
            kept = np.vstack([kept, costs[row]])
    return front
