"""Latencies in which some kinds of work take longer, for predictions by the simulator itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adadecode.profiles import LatencyTable


@dataclass(frozen=True, kw_only=True)
class ScaledLatency:
    """A latency table in which the named kinds of work take longer.

    Attributes:
        table: The latencies as they are.
        factors: How many times as long a kind of `adadecode.sim.limits.time_breakdown.WORK_KINDS`
            takes; 1 by default. The embedding counts as layers.
    """

    table: LatencyTable
    factors: Mapping[str, float] = field(default_factory=dict)

    @property
    def contexts(self) -> tuple[int, ...]:
        return self.table.contexts

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        return self._layer_factor(n_tokens) * self.table.layers(
            start, stop, n_tokens, context, reuse
        )

    def head(self, depth: int, reuse: int) -> float:
        return self.factors.get("heads", 1.0) * self.table.head(depth, reuse)

    def gate(self, depth: int) -> float:
        return self.factors.get("gates", 1.0) * self.table.gate(depth)

    def verify(self, n_tokens: int) -> float:
        return self.factors.get("verify", 1.0) * self.table.verify(n_tokens)

    def embed(self, n_tokens: int) -> float:
        return self._layer_factor(n_tokens) * self.table.embed(n_tokens)

    def prefill(self, n_tokens: int) -> float:
        return self.table.prefill(n_tokens)

    def host(self) -> float:
        return self.factors.get("host", 1.0) * self.table.host()

    def _layer_factor(self, n_tokens: int) -> float:
        return self.factors.get("layers_one" if n_tokens == 1 else "layers_several", 1.0)
