"""Committed tokens a second to expect of sequences that wait for a segment.

In lockstep every sequence makes one descent in a pass through the segments, so that with n of them
a segment runs for n times the share of descents that reach it. A pass takes the sum of its steps,
and commits n times what a descent commits. Vanilla is the design without heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adadecode.sim.serving.exits.descent_shares import DescentShares
from adadecode.sim.serving.latency.segment_times import SegmentTimes, TypicalStep


@dataclass(frozen=True, kw_only=True)
class LoadPoint:
    """How many sequences run at once.

    Attributes:
        sequences: Sequences that decode.
        context: Positions of each of them.
        prompt: Tokens of prompts that a pass computes beside them.
    """

    sequences: int
    context: float
    prompt: float = 0.0


def pass_seconds(
    times: SegmentTimes,
    shares: DescentShares,
    layers: Sequence[int],
    load: LoadPoint,
    *,
    begin: int = 0,
) -> float:
    """Return the seconds of a pass of sequences that all wait for one segment.

    Args:
        times: What steps take.
        shares: What the design does on average.
        layers: Layers of each segment.
        load: How many sequences run.
        begin: The segment that they wait for.
    """
    total, last, whole = 0.0, len(layers) - 1, shares.reach[begin]
    for segment in range(begin, len(layers)):
        reach = shares.reach[segment] / whole
        happens = 1.0 if load.prompt else 1.0 - (1.0 - reach) ** load.sequences
        if not happens:
            continue
        each = load.sequences / happens  # sequences of a pass in which the step happens
        total += happens * times.typical(
            TypicalStep(
                first=segment == 0,
                n_layers=layers[segment],
                sequences=each * reach,
                tokens=shares.tokens[segment],
                context=load.context,
                prompt=load.prompt,
                gates=each * shares.gates[segment] / whole,
                checks=each * shares.checks[segment] / whole,
                verified=each * shares.verified / whole if segment == last else 0.0,
            )
        )
    return total


def worth(
    times: SegmentTimes,
    shares: DescentShares,
    layers: Sequence[int],
    load: LoadPoint,
    segment: int,
) -> float:
    """Return the committed tokens a second that those who wait for a segment promise.

    They are the tokens that these descents commit from there on, over the seconds that they still
    take. Where no descent of the recording got there, nothing is known, and it is worth nothing.
    """
    if not shares.reach[segment]:
        return 0.0
    tokens = load.sequences * shares.ahead[segment]
    return tokens / pass_seconds(times, shares, layers, load, begin=segment)


def prompt_seconds(times: SegmentTimes, n_layers: int, tokens: float) -> float:
    """Return the seconds of a part of a prompt alone, in a step that runs all layers."""
    return times.typical(
        TypicalStep(
            first=True,
            n_layers=n_layers,
            sequences=0.0,
            tokens=1.0,
            context=0.0,
            prompt=tokens,
        )
    )
