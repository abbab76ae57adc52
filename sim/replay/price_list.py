"""The price of counted work: a dot product with one device's latencies.

Layers are kept as sums over the layers below, so that a segment is a difference for any placement.
Prices are in the unit of the latencies, usually seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import LatencyError
from adadecode.sim.core.design import Design
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.work_columns import CHECK, GATE, RUN
from adadecode.sim.replay.work_histogram import WorkHistogram

TIME_PARTS = (
    "layers",
    "layers_discarded",
    "heads",
    "heads_discarded",
    "verify",
    "verify_discarded",
    "host",
    "gates",
    "gates_discarded",
    "modelled",
)
"""The parts of a price.

Work on tokens that stayed or were rolled back, by kind; host steps apart; and ``modelled``, which
counts the work of modelled rounds once more.
"""

GATE_PARTS = ("gates", "gates_discarded")
"""Those that are told of designs which ask gates alone."""


def total_of(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of all parts, ``[designs]``, of prices as `PriceList.price` gives them.

    Gates are added last, so that designs without gates keep their sums to the last digit.
    """
    first, end = TIME_PARTS.index(GATE_PARTS[0]), len(TIME_PARTS) - 1
    total: NDArray[np.float64] = prices[:, :first].sum(axis=1) + prices[:, first:end].sum(axis=1)
    return total


def told_parts(price: NDArray[np.float64], design: Design) -> dict[str, float]:
    """Return the parts of a design's price by name, those of gates where it asks any."""
    parts = dict(zip(TIME_PARTS, price.tolist(), strict=True))
    return parts if design.gates else {k: v for k, v in parts.items() if k not in GATE_PARTS}


@dataclass(kw_only=True, eq=False)
class PriceList:
    """One device's latencies as arrays.

    Work that was not measured has no price; `price` then raises what the latencies raise.

    Attributes:
        latency: The latencies.
        n_layers: L, the layers of the model.
        marks: Contexts between which latencies are linear.
        max_tokens: Largest batch, 1 + the largest cap.
    """

    latency: Latencies
    n_layers: int
    marks: NDArray[np.int64]
    max_tokens: int
    _layers: NDArray[np.float64] = field(
        init=False, repr=False
    )  # [n_tokens, reuse, mark, layer + 1] sum over layers below
    _unknown: NDArray[np.int64] = field(
        init=False, repr=False
    )  # the same: how many of them were not measured
    _heads: NDArray[np.float64] = field(init=False, repr=False)  # [depth, reuse]
    _gates: NDArray[np.float64] = field(init=False, repr=False)  # [depth]
    _verify: NDArray[np.float64] = field(init=False, repr=False)  # [n_tokens]
    _embed: NDArray[np.float64] = field(init=False, repr=False)  # [n_tokens]

    def __post_init__(self) -> None:
        latency, count, marks = self.latency, self.n_layers, self.marks.tolist()
        seconds = np.zeros((self.max_tokens + 1, count + 1, len(marks), count + 1))
        reuses = [reuse for reuse in range(1, count + 1) if _is_told_apart(latency, reuse, count)]
        for n_tokens in range(1, self.max_tokens + 1):
            for reuse in reuses:
                for place, mark in enumerate(marks):
                    seconds[n_tokens, reuse, place, 1:] = [
                        _latency(latency.layers, layer, layer + 1, n_tokens, mark, reuse)
                        for layer in range(count)
                    ]
        for reuse in range(count, 0, -1):
            if reuse not in reuses:
                seconds[:, reuse] = seconds[:, reuse + 1]
        missing = np.isnan(seconds)
        self._unknown = np.cumsum(missing, axis=-1)
        self._layers = np.cumsum(np.where(missing, 0.0, seconds), axis=-1)
        self._heads = np.array(
            [
                [_latency(latency.head, depth, reuse) for reuse in range(count + 1)]
                for depth in range(count)
            ]
        )
        self._gates = np.array([_latency(latency.gate, depth) for depth in range(count)])
        self._verify = np.array(
            [_latency(latency.verify, n) if n else 0.0 for n in range(self.max_tokens + 1)]
        )
        self._embed = np.array(
            [_latency(latency.embed, n) if n else 0.0 for n in range(self.max_tokens + 1)]
        )

    def price(self, work: WorkHistogram) -> NDArray[np.float64]:
        """Return the price of each design by part, ``[designs, TIME_PARTS]``.

        Raises:
            LatencyError: If some work was not measured.
        """
        from adadecode.sim.replay.price_kernel import price_work  # numba takes a while to load

        prices = np.zeros((len(work.designs), len(TIME_PARTS)))
        args = (
            work.keys,
            work.sums,
            work.marks,
            self._layers,
            self._unknown,
            self._heads,
            self._gates,
            self._verify,
            self._embed,
        )
        price_work(*args, self.latency.host(), prices)
        if not np.isfinite(prices).all():
            self._refuse(work)
        return prices

    def prefill(self, work: WorkHistogram) -> float:
        """Return the mean prefill of the prompts."""
        return float(np.mean([self.latency.prefill(n) for n in work.prefills]))

    def _refuse(self, work: WorkHistogram) -> None:
        """Look up all the work, until the latencies raise for what is missing."""
        for (_, kind, start, stop, n_tokens, reuse, _), contexts in work.gaps():
            if kind == RUN:
                for context in contexts:
                    self.latency.layers(start, stop, n_tokens, context, reuse)
                if start == 0:
                    self.latency.embed(n_tokens)
            elif kind == CHECK:
                self.latency.head(start, reuse)
            elif kind == GATE:
                self.latency.gate(start)
            else:
                self.latency.verify(n_tokens)
        raise LatencyError(
            "wanted latencies that are numbers, got some that are not: profile again"
        )


def _latency(lookup: Callable[..., float], *where: int) -> float:
    """Return a latency; NaN where it was not measured."""
    try:
        return float(lookup(*where))
    except LatencyError:
        return float("nan")


def _is_told_apart(latency: Latencies, reuse: int, n_layers: int) -> bool:
    """Return whether a layer at this reuse may take another time than at the next longer one."""
    reuses: Sequence[int] | None = getattr(latency, "reuses", None)
    return (
        reuse == n_layers
        or reuses is None
        or min(reuses, default=0) <= reuse < max(reuses, default=0)
    )
