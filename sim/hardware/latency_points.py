"""Points of a latency table that nobody measured where they stand: an interval each. Any corner of them is an ordinary table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from adadecode.profiles.latency import LatencyTable
from adadecode.sim.hardware.roofline import Interval

CORNERS = ("middle", "low", "high", "layers_low", "layers_high", "batches_low", "batches_high")
"""Which end of every interval a table takes. layers_low: layers the low one, everything else the high one; layers_high the reverse. batches_low: layers
of one token the high end, of several the low one, everything else the middle; batches_high the reverse. A speedup is a ratio, and moves most where what
is on top of it and what is below are wrong in opposite ways."""

_COLUMNS = ["kind", "layer", "n_tokens", "context", "reuse"]
_OTHER = {"low": "high", "high": "low"}


@dataclass(kw_only=True)
class Points:
    """Points of one model on one device, in the columns of a ``latency`` table."""

    n_layers: int
    _rows: list[tuple[str, int, int, int, int]] = field(
        default_factory=list, init=False, repr=False
    )
    _seconds: list[tuple[float, float, float]] = field(default_factory=list, init=False, repr=False)

    def add(
        self,
        kind: str,
        seconds: Interval,
        *,
        layer: int = -1,
        n_tokens: int = 1,
        context: int = 0,
        reuse: int = 0,
    ) -> None:
        """One point; where layer, context or reuse mean nothing, as in a profile (``adadecode.profiles.schema``)."""
        self._rows.append((kind, layer, n_tokens, context, reuse))
        self._seconds.append((seconds.low, seconds.middle, seconds.high))

    def tables(self) -> dict[str, LatencyTable]:
        """A table for each of ``CORNERS``."""
        points = pd.DataFrame(self._rows, columns=_COLUMNS)
        ends = dict(
            zip(("low", "middle", "high"), np.array(self._seconds, dtype=np.float64).T, strict=True)
        )
        layers = (points["kind"] == "layer").to_numpy()
        single = layers & (points["n_tokens"] == 1).to_numpy()
        tables = {}
        for corner in CORNERS:
            what, _, end = corner.rpartition("_")
            if what == "layers":
                seconds = np.where(layers, ends[end], ends[_OTHER[end]])
            elif what == "batches":
                seconds = np.where(
                    layers, np.where(single, ends[_OTHER[end]], ends[end]), ends["middle"]
                )
            else:
                seconds = ends[corner]
            tables[corner] = LatencyTable.from_samples(
                points.assign(seconds=seconds), self.n_layers
            )
        return tables
