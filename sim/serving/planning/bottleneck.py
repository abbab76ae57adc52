"""What keeps a deployment from meeting its objectives with one replica less."""

from __future__ import annotations

from enum import StrEnum

from adadecode.sim.serving.metrics.load_metrics import LoadMetrics
from adadecode.sim.serving.server import TimeShares

KEPT_OUT = 0.05
"""Share of the time in which memory keeps requests out, from which on it binds."""

PREEMPTED = 0.05
"""Share of the requests that lose their keys and values, from which on memory binds.

Each of them is computed again, which its own times show, and those of the others little: with fewer
than one in twenty, neither a mean nor a percentile up to P95 is made by them.
"""


class Bottleneck(StrEnum):
    """What binds.

    ==========  ===================================================================================
    memory      Keys and values: more than `PREEMPTED` of the requests lost theirs, or requests
                waited, in more than `KEPT_OUT` of the time, though steps had tokens and sequences
                to spare.
    queue       The objective that is missed is TTFT, and most of it is waiting for the first work.
    compute     More than half of the time goes into steps of so many tokens that arithmetic, and
                not reading the weights, takes the time.
    bandwidth   The rest: reading the weights, and the keys and values.
    device      As compute or bandwidth, of a device of which it is not known where one turns into
                the other.
    ==========  ===================================================================================
    """

    MEMORY = "memory"
    QUEUE = "queue"
    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"
    DEVICE = "device"


def bottleneck(
    run: LoadMetrics,
    shares: TimeShares,
    missed: str,
    ridge_tokens: float | None,
) -> Bottleneck:
    """Return what binds in a run that misses an objective.

    Args:
        run: The figures of the run.
        shares: What of the servers' time is of which kind.
        missed: The objective that is missed by most, like ``ttft_p99``.
        ridge_tokens: Tokens of a step from which on arithmetic binds; None where nobody knows.
    """
    preempted = float((run.table["preemptions"] > 0).mean())
    if preempted > PREEMPTED or shares.kept_out > KEPT_OUT:
        return Bottleneck.MEMORY
    metric, statistic = missed.rsplit("_", 1)
    if metric == "ttft" and run.wait_s is not None:
        reached = getattr(run.ttft_s, statistic)
        if getattr(run.wait_s, statistic) > reached / 2:
            return Bottleneck.QUEUE
    if ridge_tokens is None:
        return Bottleneck.DEVICE
    dense = sum(share for count, share in shares.by_tokens.items() if count >= ridge_tokens)
    return Bottleneck.COMPUTE if dense > 0.5 else Bottleneck.BANDWIDTH
