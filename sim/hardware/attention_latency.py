"""The part of a layer's time that grows with its context.

It goes into reading keys and values, and attending to them.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import numpy as np

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable


class Attending:
    """Latencies in which attention takes its time, and nothing else takes any.

    The time comes from a straight line of least squares through walks of the whole stack, at every
    context that a table has for a batch. It is that of a mean layer, so that the noise of single
    layers cancels, and never below 0. It is 0 where a table has one context alone; `is_known`
    tells whether it has more.

    Args:
        table: The latencies of a device.
        window: Most positions that layers attend to, where the model limits them: one number for
            all, or one for each (`adadecode.profiles.catalog.model_shape.ModelShape.sight`).
    """

    def __init__(self, table: LatencyTable, window: int | tuple[int, ...] | None = None) -> None:
        self.table, self.window = table, window
        self.contexts = table.contexts
        self.reuses: tuple[int, ...] = ()  # the same for all
        self.known = lru_cache(maxsize=None)(self._known)
        self._slope = lru_cache(maxsize=None)(self._fitted)

    @property
    def is_known(self) -> bool:
        """Whether the table has more than one context, which the slope needs."""
        return len({self._seen(context) for context in self.contexts}) > 1

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:  # noqa: ARG002 - as in `Latencies`
        """Return the seconds that layers start..stop-1 attend.

        Raises:
            LatencyError: If the batch was not measured at any context.
        """
        return (stop - start) * self._slope(n_tokens) * self._seen(context)

    def head(self, depth: int, reuse: int) -> float:  # noqa: ARG002 - as in `Latencies`
        """Return 0: a head does not attend."""
        return 0.0

    def gate(self, depth: int) -> float:  # noqa: ARG002 - as in `Latencies`
        """Return 0: a gate does not attend."""
        return 0.0

    def verify(self, n_tokens: int) -> float:  # noqa: ARG002 - as in `Latencies`
        """Return 0: norm and LM head do not attend."""
        return 0.0

    def embed(self, n_tokens: int) -> float:  # noqa: ARG002 - as in `Latencies`
        """Return 0: embedding does not attend."""
        return 0.0

    def prefill(self, n_tokens: int) -> float:  # noqa: ARG002 - as in `Latencies`
        """Return 0: a prompt is no part of the time per token."""
        return 0.0

    def host(self) -> float:
        """Return 0: the host does not attend."""
        return 0.0

    def _seen(self, context: int) -> float:
        """Return the positions that a mean layer sees."""
        if isinstance(self.window, tuple):
            return sum(min(context, one) for one in self.window) / len(self.window)
        return min(context, self.window or context)

    def _known(self, n_tokens: int) -> dict[int, float]:
        """Return the seconds of a walk of the whole stack by context, rising."""
        known = {}
        for context in self.contexts:
            with suppress(LatencyError):
                known[context] = self.table.layers(
                    0, self.table.n_layers, n_tokens, context, self.table.n_layers
                )
        if not known:
            raise LatencyError(
                f"no latency for {n_tokens} tokens at once at any context: "
                f"profile with --max-tokens {n_tokens}"
            )
        return known

    def _fitted(self, n_tokens: int) -> float:
        """Return the seconds of one layer for one more position."""
        known = self.known(n_tokens)
        seen, seconds = (
            np.array([self._seen(context) for context in known]),
            np.array(list(known.values())),
        )
        distance = seen - seen.mean()
        spread = float(distance @ distance)
        return max(0.0, float(distance @ seconds) / spread) / self.table.n_layers if spread else 0.0
