"""Which products of few rows compiled layers have: our own, or the sums that inductor makes.

Our product reads a matrix as fast as memory allows, but is called apart. Sums are one with the norm
before and the activation after them, and cost more for each row. Which is sooner depends on the
machine and on the size of the layer, so both are compiled for the first layer of a kind, and timed
in turn on layers of the model (docs/decisions/0042).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adadecode.engine.runtime.timing_in_turn import least_seconds

TIMED_ROWS = (1, 4)
"""Rows of the passes that are timed: what most passes of a text have, and what waits for them."""

PREFERRED = 0.9
"""Sums must take less than this part of what our product takes.

Ours gives a row the same bits in any batch.
"""

_LAPS = 4

Pass = Callable[[], object]
"""Runs layers of the model once."""


def sums_are_sooner(passes: Mapping[int, Mapping[bool, Pass]]) -> bool:
    """Return whether inductor's sums are sooner than our product, over all passes together.

    Args:
        passes: By number of rows, a pass by sums (True) and one by our product (False).
    """
    total = {True: 0.0, False: 0.0}
    for ways in passes.values():
        for by_sums, seconds in least_seconds(ways, _LAPS).items():
            total[by_sums] += seconds
    return total[True] < PREFERRED * total[False]
