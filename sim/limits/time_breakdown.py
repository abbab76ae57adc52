"""What designs spend their time on, by kind of work.

Every question about costlier or cheaper work is a sum of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.core.design import Design, Policy
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.replay.price_list import TIME_PARTS, PriceList
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.work_columns import RUN
from adadecode.sim.replay.work_histogram import WorkHistogram

WORK_KINDS = {
    "layers_one": "layers, one token",
    "layers_several": "layers, several tokens",
    "heads": "head checks",
    "verify": "verification",
    "host": "host",
    "gates": "gates",
}
"""Kinds of work, and what people read.

The embedding counts as layers; the host's share of any piece of work counts as host.
"""

VANILLA = Design(policy=Policy.VANILLA)

_Array = NDArray[np.float64]


class LatenciesByContext(Latencies, Protocol):
    """Latencies that are linear between the contexts that are known."""

    @property
    def contexts(self) -> tuple[int, ...]:
        """The known contexts, rising."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Bill:
    """Seconds per output token after the first, by design and kind of work.

    Attributes:
        work: What was done, a row each: vanilla first, then the designs.
        seconds: Shape ``(1 + designs, n_kinds)``.
    """

    work: WorkHistogram
    seconds: _Array

    @property
    def vanilla(self) -> _Array:
        """Seconds per token of vanilla by kind of work, shape ``(n_kinds,)``."""
        first: _Array = self.seconds[0]
        return first

    @property
    def tpots(self) -> _Array:
        """Seconds per token of all kinds together, vanilla's first, shape ``(1 + designs,)``."""
        total: _Array = self.seconds.sum(axis=1)
        return total

    def speedups(self, factors: Mapping[str, float] | None = None) -> _Array:
        """Return the speedups over vanilla, shape ``(designs,)``.

        Args:
            factors: How many times as long some kinds of work take, for vanilla too.
        """
        weights = np.array([(factors or {}).get(kind, 1.0) for kind in WORK_KINDS])
        seconds: _Array = self.seconds @ weights
        ratios: _Array = seconds[0] / seconds[1:]
        return ratios


@dataclass(frozen=True, kw_only=True, eq=False)
class Billing:
    """Makes bills of designs on some prompts with one table of latencies. Build with `of`.

    Attributes:
        replay: The text, compiled.
        prompts: The prompts that are replayed.
        contexts: Contexts at which prices change their slope.
        prices: What work takes.
    """

    replay: CompiledReplay
    prompts: tuple[int, ...]
    contexts: tuple[int, ...]
    prices: PriceList

    @classmethod
    def of(
        cls,
        replay: CompiledReplay,
        prompts: Sequence[int],
        latency: LatenciesByContext,
        max_tokens: int,
    ) -> Billing:
        """List the prices of a table of latencies.

        Args:
            replay: The text, compiled.
            prompts: The prompts to replay.
            latency: What work takes.
            max_tokens: 1 + the largest cap.
        """
        marks = replay.count([], prompts, contexts=latency.contexts).marks
        prices = PriceList(
            latency=latency, n_layers=replay.n_layers, marks=marks, max_tokens=max_tokens
        )
        return cls(replay=replay, prompts=tuple(prompts), contexts=latency.contexts, prices=prices)

    def bill(
        self,
        designs: Sequence[Design],
        *,
        replay: CompiledReplay | None = None,
        prompts: Sequence[int] | None = None,
    ) -> Bill:
        """Divide the time of designs, and of vanilla, into kinds of work.

        Args:
            designs: The designs; vanilla is billed too.
            replay: The same prompts with other outputs of heads; by default those of the bill.
            prompts: Some of the prompts; by default all.

        Raises:
            DesignError: If a design needs a head that was not trained.
            LatencyError: If a latency is not known.
        """
        chosen = self.prompts if prompts is None else prompts
        work = (replay or self.replay).count([VANILLA, *designs], chosen, contexts=self.contexts)
        runs, alone = work.key("kind") == RUN, work.key("n_tokens") == 1
        one, several, rest = (
            dict(zip(TIME_PARTS, self._priced(work, which).T, strict=True))
            for which in (runs & alone, runs & ~alone, ~runs)
        )
        by_kind = (
            *(part["layers"] + part["layers_discarded"] for part in (one, several)),
            rest["heads"] + rest["heads_discarded"],
            rest["verify"] + rest["verify_discarded"],
            one["host"] + several["host"] + rest["host"],
            rest["gates"] + rest["gates_discarded"],
        )
        tokens = work.tally("tokens") - len(work.prefills)
        return Bill(work=work, seconds=np.stack(by_kind, axis=1) / tokens[:, None])

    def _priced(self, work: WorkHistogram, which: NDArray[np.bool_]) -> _Array:
        """Return the prices of some entries alone, shape ``(designs, n_parts)``."""
        return self.prices.price(replace(work, keys=work.keys[which], sums=work.sums[which]))
