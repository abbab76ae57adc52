"""The mean and the percentiles of a time over requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("mean", "p50", "p90", "p95", "p99")
"""What is said of every time."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of one time, in seconds.

    Percentiles lie on straight lines between the sorted values, as NumPy, vLLM and AIPerf take
    them.

    Attributes:
        count: How many values there are.
        mean: Their mean.
        p50: Their median.
        p90: Their 90th percentile.
        p95: Their 95th percentile.
        p99: Their 99th percentile.
    """

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64]) -> Summary | None:
        """Return the figures of some values; None of none. NaN stands for what is not known."""
        found = np.asarray(values, dtype=np.float64)
        missing = np.isnan(found)
        if missing.any():  # gaps between tokens are many, and none of them is missing
            found = found[~missing]
        if not found.size:
            return None
        cuts = [float(cut) for cut in np.percentile(found, [50, 90, 95, 99])]
        p50, p90, p95, p99 = cuts
        mean = float(found.mean())
        return cls(count=found.size, mean=mean, p50=p50, p90=p90, p95=p95, p99=p99)

    def to_json(self) -> dict[str, float]:
        """Return the figures by name."""
        return {name: float(getattr(self, name)) for name in STATISTICS}
