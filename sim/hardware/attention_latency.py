"""The part of a layer's time that goes with its context: reading keys and values, and attending to them."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import numpy as np

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable


class Attending:
    """Latencies in which attending takes its time, and nothing else any.

    From the straight line of least squares through a walk of the whole stack at every context that a table knows for so many tokens: a mean layer, so that
    the noise of single ones cancels, and never below 0. window: positions that a layer sees at most, where it is known. Nothing where a table
    knows one context alone; `told` says whether it knows more.
    """

    def __init__(self, table: LatencyTable, window: int | None = None) -> None:
        self.table, self.window = table, window
        self.contexts = table.contexts
        self.reuses: tuple[int, ...] = ()  # one answer for all
        self.known = lru_cache(maxsize=None)(self._known)
        self._slope = lru_cache(maxsize=None)(self._fitted)

    @property
    def told(self) -> bool:
        """Whether the table says anything about this."""
        return len({self._seen(context) for context in self.contexts}) > 1

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """Of so many layers. Raises LatencyError for a batch that was not measured at any context."""
        return (stop - start) * self._slope(n_tokens) * self._seen(context)

    def head(self, depth: int, reuse: int) -> float:
        """Nothing."""
        return 0.0

    def verify(self, n_tokens: int) -> float:
        """Nothing."""
        return 0.0

    def embed(self, n_tokens: int) -> float:
        """Nothing."""
        return 0.0

    def prefill(self, n_tokens: int) -> float:
        """Nothing: a prompt is no part of the time per token."""
        return 0.0

    def host(self) -> float:
        """Nothing."""
        return 0.0

    def _seen(self, context: int) -> int:
        return min(context, self.window or context)

    def _known(self, n_tokens: int) -> dict[int, float]:
        """Seconds of a walk of the whole stack by context, rising."""
        known = {}
        for context in self.contexts:
            with suppress(LatencyError):
                known[context] = self.table.layers(
                    0, self.table.n_layers, n_tokens, context, self.table.n_layers
                )
        if not known:
            raise LatencyError(
                f"no latency for {n_tokens} tokens at once at any context: profile with --max-tokens {n_tokens}"
            )
        return known

    def _fitted(self, n_tokens: int) -> float:
        """Seconds of one layer for one more position."""
        known = self.known(n_tokens)
        seen, seconds = (
            np.array([self._seen(context) for context in known]),
            np.array(list(known.values())),
        )
        away = seen - seen.mean()
        spread = float(away @ away)
        return max(0.0, float(away @ seconds) / spread) / self.table.n_layers if spread else 0.0
