"""The latencies of a profile as tidy tables: layers, pieces of work, and the time of a token."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from adadecode.sim.core.scheduler import Check, Gate, Run
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.simulation import ReplayedRun

TIME_SHARES = ("layers_useful", "layers_discarded", "heads", "verify", "host")
"""The parts of the time of a token, in the order in which they are drawn."""

PIECES = ("layer", "head", "gate", "verify", "embed", "host")
"""The kinds of work, in the order in which they are drawn."""


def layer_seconds(points: pd.DataFrame) -> pd.DataFrame:
    """Return the seconds of one decoder layer by batch and context.

    They are those after a walk of the whole stack.

    Args:
        points: `LatencyTable.points`.

    Returns:
        Columns: context, n_tokens, seconds (mean over the layers measured), low and high (the
        fastest and the slowest layer).
    """
    layers = points[points["kind"] == "layer"]
    cold = layers[layers["reuse"] == layers.groupby("layer")["reuse"].transform("max")]
    spread = cold.groupby(["context", "n_tokens"])["seconds"].agg(
        seconds="mean", low="min", high="max"
    )
    return spread.reset_index()


def piece_seconds(points: pd.DataFrame) -> pd.DataFrame:
    """Return the seconds of each kind of work on one token at the shortest context.

    They are those after a walk of the whole stack.

    Args:
        points: `LatencyTable.points`.

    Returns:
        Columns: kind, seconds (mean), low and high (over layers or heads).
    """
    one = points[(points["n_tokens"] == 1) & (points["kind"] != "prefill")]
    cold = one[one["reuse"] == one.groupby(["kind", "layer"])["reuse"].transform("max")]
    near = cold[cold["context"] == cold.groupby("kind")["context"].transform("min")]
    spread = near.groupby("kind")["seconds"].agg(seconds="mean", low="min", high="max")
    return spread.reindex([kind for kind in PIECES if kind in spread.index]).reset_index()


def time_split(runs: Iterable[ReplayedRun], latency: Latencies) -> dict[str, float]:
    """Split the seconds of an output token after the first by `TIME_SHARES`.

    The time of a batch is shared evenly by its tokens; ``layers_discarded`` is that of drafts which
    verification rejects later. Embedding counts with the layers, gates with the heads.

    Args:
        runs: Replayed runs with their events.
        latency: The latencies they were priced with.
    """
    split, tokens, host = dict.fromkeys(TIME_SHARES, 0.0), 0, latency.host()
    for run in runs:
        tokens += run.n_tokens - 1
        rounds = iter(run.rounds)
        current = next(rounds, None)
        for event in run.events:
            seconds = event.seconds - host
            split["host"] += host
            if isinstance(event.work, Check | Gate):
                split["heads"] += seconds
            elif isinstance(event.work, Run) and current is not None:
                kept = _kept_share(event.work, current.start + current.accepted)
                split["layers_useful"] += seconds * kept
                split["layers_discarded"] += seconds * (1 - kept)
            else:
                split["verify"] += seconds
                current = next(rounds, None)
    return {part: seconds / tokens for part, seconds in split.items()} if tokens else split


def _kept_share(work: Run, last: int) -> float:
    """Return the share of a batch's positions up to ``last``, the last whose token was right."""
    return min(max(last + 1 - work.start, 0), work.stop - work.start) / (work.stop - work.start)
