"""Servers with early exits, of small recordings and prices that are worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Gate, Run, Verify
from adadecode.sim.replay.pricer import Latencies, Pricer
from adadecode.sim.serving.batching.segment_order import segment_order
from adadecode.sim.serving.exits.exit_server import ExitDecoding
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.latency.segment_times import SegmentWork

PROMPT_S = 1e-3
"""Seconds of every step that has a part of a prompt, in `PricedAlone`."""


class PricedAlone:
    """Prices the steps of a single sequence as a prediction of a decode loop does."""

    def __init__(self, latency: Latencies, boundaries: Sequence[int]) -> None:
        self.boundaries = boundaries
        self.pricer = Pricer(latency, boundaries)

    def __call__(self, work: SegmentWork) -> float:
        """Return the seconds of a step."""
        if not work.waiting:
            return PROMPT_S
        ((n_tokens, cached),) = work.waiting
        depth, last = self.boundaries[work.segment + 1], cached + n_tokens - 1
        seconds = self.pricer(Run(work.segment, cached, cached + n_tokens))
        if work.gates:
            seconds += self.pricer(Gate(depth, last))
        if work.checks:
            seconds += self.pricer(Check(depth, last))
        if work.verified:
            seconds += self.pricer(Verify(0, work.verified, ()))
        return seconds


def decoding_of(
    profile: Profile,
    design: Design,
    longest: int,
    *,
    price: Callable[[SegmentWork], float] | None = None,
    order: str = "lockstep",
    seed: int = 0,
) -> ExitDecoding:
    """Return how servers decode that replay a profile; a step takes 1 ms and 0.1 a token."""
    return ExitDecoding(
        design=design,
        texts=Texts.of(profile, longest, seed=seed),
        price=price or (lambda work: 1e-3 + 1e-4 * work.n_tokens),
        order=lambda: segment_order(order),
    )
