"""Points of a latency table that were estimated, an interval each.

Any corner of these intervals is an ordinary table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.latency import LatencyTable
from adadecode.sim.hardware.host_time import HostTime
from adadecode.sim.hardware.roofline import Interval

CORNERS = ("middle", "low", "high", "layers_low", "layers_high", "batches_low", "batches_high")
"""Which end of every interval a table takes.

- ``layers_low``: layers the low end, everything else the high one; ``layers_high`` the reverse.
- ``batches_low``: layers of one token the high end, of several tokens the low one, everything else
  the middle; ``batches_high`` the reverse.

A speedup is a ratio. It moves most where its numerator and denominator are wrong in opposite ways.
"""

_COLUMNS = ["kind", "layer", "n_tokens", "context", "reuse"]
_OTHER = {"low": "high", "high": "low"}


@dataclass(kw_only=True)
class Points:
    """Points of one model on one device, in the columns of a ``latency`` table.

    Attributes:
        n_layers: Layers of the model.
        host: The host that starts the kernels of each point; None where it is hidden, or in what
            is added.
    """

    n_layers: int
    host: HostTime | None = None
    _rows: list[tuple[str, int, int, int, int]] = field(
        default_factory=list, init=False, repr=False
    )
    _seconds: list[tuple[float, float, float]] = field(default_factory=list, init=False, repr=False)
    _apart: list[tuple[float, float]] = field(default_factory=list, init=False, repr=False)

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
        """Add one point.

        Where layer, context or reuse mean nothing, they are as in a profile
        (`adadecode.profiles.schema`).
        """
        apart = seconds
        if self.host is not None:
            seconds, apart = self.host.over(kind, seconds, n_tokens)
        self._rows.append((kind, layer, n_tokens, context, reuse))
        self._seconds.append((seconds.low, seconds.middle, seconds.high))
        self._apart.append((apart.low, apart.high))

    def tables(self) -> CornerTables:
        """Return a table for each of ``CORNERS``, which is made when it is first read."""
        ends = np.array(self._seconds, dtype=np.float64)
        return CornerTables(
            self.n_layers,
            pd.DataFrame(self._rows, columns=_COLUMNS),
            dict(zip(("low", "middle", "high"), ends.T, strict=True)),
            dict(zip(("low", "high"), np.array(self._apart, dtype=np.float64).T, strict=True)),
        )


class CornerTables(Mapping[str, LatencyTable]):
    """The tables of all ``CORNERS``, each made when it is first read: most callers read one.

    Args:
        n_layers: Layers of the model.
        points: Kind, layer, n_tokens, context and reuse of each point.
        ends: Seconds of each point at the ends ``low``, ``middle`` and ``high``.
        apart: Its ends where another point takes the opposite one.
    """

    def __init__(
        self,
        n_layers: int,
        points: pd.DataFrame,
        ends: Mapping[str, NDArray[np.float64]],
        apart: Mapping[str, NDArray[np.float64]],
    ) -> None:
        self._n_layers = n_layers
        self._points = points
        self._ends = ends
        self._apart = apart
        self._tables: dict[str, LatencyTable] = {}

    def __getitem__(self, corner: str) -> LatencyTable:
        if corner not in CORNERS:
            raise KeyError(corner)
        if corner not in self._tables:
            points = self._points.assign(seconds=self._seconds(corner))
            self._tables[corner] = LatencyTable.from_samples(points, self._n_layers)
        return self._tables[corner]

    def __iter__(self) -> Iterator[str]:
        return iter(CORNERS)

    def __len__(self) -> int:
        return len(CORNERS)

    def _seconds(self, corner: str) -> NDArray[np.float64]:
        """Return the seconds of each point at one corner."""
        group, _, end = corner.rpartition("_")
        if not group:
            return self._ends[end]
        layers = (self._points["kind"] == "layer").to_numpy()
        near, far = self._apart[end], self._apart[_OTHER[end]]
        if group == "layers":
            return np.where(layers, near, far)
        single = layers & (self._points["n_tokens"] == 1).to_numpy()
        return np.where(layers, np.where(single, far, near), self._ends["middle"])
