"""How much an answer depends on each assumption: it alone is changed a little either way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.core.design import Design
from adadecode.sim.hardware.attention_latency import Attending
from adadecode.sim.limits.perturbation import agreement, with_wrong_heads
from adadecode.sim.limits.time_breakdown import WORK_KINDS, Bill, Billing

CONTEXT, MISTAKES = "context", "mistakes"
ASSUMPTIONS = {**WORK_KINDS, CONTEXT: "context", MISTAKES: "wrong heads"}
"""What is changed, and what people read.

It is the seconds of a kind of work, how long contexts are, or how often heads are wrong.
"""

DRAWS = 8
"""How often other mistakes are drawn.

On the demo profile a tenth more of them costs designs 0.02 to 0.05 of their speedups, give or take
0.004 to 0.009 where they are drawn once.
"""

_Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Perturbation:
    """What becomes of some designs where one assumption is changed.

    Attributes:
        assumption: One of ASSUMPTIONS.
        change: How far it is off, as a share: -0.1 is a tenth less.
        speedups: The speedups then, shape ``(designs,)``.
    """

    assumption: str
    change: float
    speedups: _Array


def perturb(
    billing: Billing,
    designs: Sequence[Design],
    change: float,
    *,
    attending: Attending | None = None,
    cap: int,
) -> Iterator[Perturbation]:
    """Change every assumption that means something here, down and up.

    A kind of work is changed if it takes time, contexts if a table holds what they take. The
    rate at which heads are wrong is multiplied, at the same confidence
    (`adadecode.sim.limits.perturbation`).

    Args:
        billing: Makes the bills.
        designs: The designs.
        change: How far each assumption is off, as a share.
        attending: What attention takes, for contexts; None leaves them out.
        cap: The largest cap of the designs.
    """
    bill = billing.bill(designs)
    for place, kind in enumerate(WORK_KINDS):
        if bill.seconds[:, place].any():
            for off in (-change, change):
                yield Perturbation(
                    assumption=kind, change=off, speedups=bill.speedups({kind: 1 + off})
                )
    if attending is not None and attending.is_known:
        seen = Billing.of(billing.replay, billing.prompts, attending, cap + 1).bill(designs).tpots
        for off in (-change, change):
            tpots = bill.tpots + off * seen
            yield Perturbation(assumption=CONTEXT, change=off, speedups=tpots[0] / tpots[1:])
    for off in (-change, change):
        yield Perturbation(
            assumption=MISTAKES, change=off, speedups=with_mistakes(billing, designs, off)
        )


def with_mistakes(billing: Billing, designs: Sequence[Design], change: float) -> _Array:
    """Return the speedups where every head is wrong 1 + change times as often.

    They are the mean over DRAWS, shape ``(designs,)``.
    """
    right = agreement(billing.replay, billing.prompts)
    more = np.minimum(
        1.0, np.divide(change * (1 - right), right, out=np.zeros_like(right), where=right > 0)
    )
    shares = {"wrong": more} if change > 0 else {"right": np.full(len(right), -change)}
    return mean_bill(
        [
            billing.bill(designs, replay=with_wrong_heads(billing.replay, **shares, seed=seed))
            for seed in range(DRAWS)
        ]
    )


def mean_bill(bills: Sequence[Bill]) -> _Array:
    """Return the speedups over all draws together, shape ``(designs,)``."""
    tpots = np.mean([bill.tpots for bill in bills], axis=0)
    speedups: _Array = tpots[0] / tpots[1:]
    return speedups


class TornadoRow(NamedTuple):
    """What one assumption does to the speedup.

    Attributes:
        assumption: One of ASSUMPTIONS.
        less: The speedup where it is less.
        more: The speedup where it is more.
        effect: The larger of the two changes, as a share of the speedup now.
    """

    assumption: str
    less: float
    more: float
    effect: float


def tornado(changed: Sequence[Perturbation], now: float) -> list[TornadoRow]:
    """Return a row for each assumption, the one with the largest effect first.

    Args:
        changed: Every assumption, changed down and up; the first design is what counts.
        now: Its speedup now.
    """
    ends = {(one.assumption, one.change > 0): float(one.speedups[0]) for one in changed}
    rows = []
    for name in dict.fromkeys(one.assumption for one in changed):
        less, more = ends[name, False], ends[name, True]
        rows.append(TornadoRow(name, less, more, max(abs(less - now), abs(more - now)) / now))
    return sorted(rows, key=lambda row: -row.effect)


class RankChange(NamedTuple):
    """A case in which another design is the best.

    Attributes:
        what: What was changed, in words.
        best: Label of the best design then.
        speedup: Its speedup then.
        before: The speedup then of the design that is the best now.
    """

    what: str
    best: str
    speedup: float
    before: float


def rank_changes(
    designs: Sequence[Design], now: _Array, cases: Mapping[str, _Array]
) -> tuple[int, list[RankChange]]:
    """Find the best design now, and the cases in which another one is.

    Args:
        designs: The designs.
        now: Their speedups now, shape ``(designs,)``.
        cases: Their speedups in each case, by what was changed.

    Returns:
        The place of the best design, and the cases.
    """
    best = int(np.argmax(now))
    found = []
    for what, speedups in cases.items():
        other = int(np.argmax(speedups))
        if speedups[other] > speedups[best]:
            found.append(
                RankChange(
                    what, designs[other].label, float(speedups[other]), float(speedups[best])
                )
            )
    return best, found
