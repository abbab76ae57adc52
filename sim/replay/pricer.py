"""Price each piece of work on one device, from a table of latencies.

A layer is cheaper when it runs again soon, because its weights are still in the cache. So a device
remembers when each segment last ran, and looks a layer up *after so many layer passes*
(``reuse``). A segment always runs as a whole, so one number stands for all of its layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from adadecode.sim.core.scheduler import Check, Gate, Run, Work


class Latencies(Protocol):
    """The seconds of each piece of work, as pricing needs them.

    `adadecode.profiles.latency.LatencyTable` provides them.
    """

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """Return the seconds of layers start..stop-1 on n_tokens at once.

        The last token stands at position context - 1; each layer ran ``reuse`` layer passes ago.
        """
        ...

    def head(self, depth: int, reuse: int) -> float:
        """Return the seconds of one check of the head at ``depth``."""
        ...

    def gate(self, depth: int) -> float:
        """Return the seconds of one question to the gate before the head at ``depth``."""
        ...

    def verify(self, n_tokens: int) -> float:
        """Return the seconds of final norm, LM head and argmax over n_tokens rows."""
        ...

    def embed(self, n_tokens: int) -> float:
        """Return the seconds of the token embedding of n_tokens."""
        ...

    def prefill(self, n_tokens: int) -> float:
        """Return the seconds of a prompt of n_tokens to its first token."""
        ...

    def host(self) -> float:
        """Return the seconds that one piece of work costs outside the model."""
        ...


class Pricer:
    """Prices work in the order a device does it.

    ``Run(s, i, j)`` costs its layers at j - i tokens and context j, and the embedding where s is 0.
    ``Gate`` costs its gate, and ``Check`` its head, as warm as the layer below it. ``Verify`` costs
    the final norm, LM head and argmax. Each costs one host step too.

    Args:
        latency: The latencies of the device. It raises `LatencyError` for work without one.
        boundaries: The design's segment boundaries, 0..L.
    """

    def __init__(self, latency: Latencies, boundaries: Sequence[int]) -> None:
        self.latency = latency
        self.boundaries = tuple(boundaries)
        self.n_layers = self.boundaries[-1]
        self._widths = [stop - start for start, stop in pairwise(self.boundaries)]
        self._runs: dict[
            tuple[int, int, int, int], float
        ] = {}  # (segment, n_tokens, context, reuse)
        self._checks: dict[tuple[int, int], float] = {}  # (depth, reuse)
        self._gates: dict[int, float] = {}  # depth
        self._verifies: dict[int, float] = {}  # n_tokens
        self.reset()

    def reset(self) -> None:
        """Make the device cold: no layer has run.

        Each layer then costs what it does after a walk of the whole stack.
        """
        self._passes = 0  # layers run so far
        self._began = [-self.n_layers] * len(
            self._widths
        )  # passes before the last run of each segment
        self._reuse = self.n_layers  # of the segment that ran last

    def __call__(self, work: Work) -> float:
        """Return the seconds of a piece of work that is done now."""
        if isinstance(work, Run):
            segment, start, stop = work
            self._reuse = reuse = min(self._passes - self._began[segment], self.n_layers)
            self._began[segment] = self._passes
            self._passes += self._widths[segment]
            key = (segment, stop - start, stop, reuse)
            seconds = self._runs.get(key)
            if seconds is None:
                seconds = self._runs[key] = self._run(*key)
            return seconds
        if isinstance(work, Check):
            key_of_head = (work[0], self._reuse)
            seconds = self._checks.get(key_of_head)
            if seconds is None:
                seconds = self._checks[key_of_head] = (
                    self.latency.head(*key_of_head) + self.latency.host()
                )
            return seconds
        if isinstance(work, Gate):
            depth = work[0]
            seconds = self._gates.get(depth)
            if seconds is None:
                seconds = self._gates[depth] = self.latency.gate(depth) + self.latency.host()
            return seconds
        n_tokens = work[1] - work[0]
        seconds = self._verifies.get(n_tokens)
        if seconds is None:
            seconds = self._verifies[n_tokens] = self.latency.verify(n_tokens) + self.latency.host()
        return seconds

    def _run(self, segment: int, n_tokens: int, context: int, reuse: int) -> float:
        seconds = self.latency.layers(
            self.boundaries[segment], self.boundaries[segment + 1], n_tokens, context, reuse
        )
        embedding = self.latency.embed(n_tokens) if segment == 0 else 0.0
        return seconds + embedding + self.latency.host()
