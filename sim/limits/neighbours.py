"""The designs next to a design: one step of the threshold away, with one head less, or with one more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from adadecode.sim.core.design import Design, Policy
from adadecode.sim.sweep.space import GAMMAS


def neighbours(design: Design, depths: Sequence[int]) -> tuple[Design, ...]:
    """The design itself first, each once. depths: of the heads to choose from.

    Thresholds step through `adadecode.sim.sweep.space.GAMMAS`, all heads together; a head that is added asks what the nearest one asks. Of fixed, which has one
    head and no threshold, the next heads on either side; of the oracle, which has no threshold, other placements alone.
    """
    if design.policy is Policy.FIXED:
        others: Iterator[Design] = (
            _placed(design, {depth: 0.0}) for depth in _beside(design.placement[0], depths)
        )
    elif design.policy is Policy.ORACLE:
        others = (_placed(design, placed) for placed in _placements(design, depths))
    else:
        steps = range(-1, 2)
        others = (
            _placed(design, {depth: _stepped(gamma, step) for depth, gamma in placed.items()})
            for placed, step in product(_placements(design, depths), steps)
        )
    return tuple({one.label: one for one in (design, *others)}.values())


def _placed(design: Design, placed: dict[int, float]) -> Design:
    """The design with these heads and thresholds."""
    gammas = [placed[depth] for depth in sorted(placed)]
    return Design.of(design.policy, placement=sorted(placed), gamma=gammas, cap=design.cap)


def _placements(design: Design, depths: Sequence[int]) -> Iterator[dict[int, float]]:
    """Thresholds by depth: of the design, of each with one head less, of each with one more."""
    here = dict(zip(design.placement, design.gammas, strict=True))
    yield here
    if len(here) > 1:
        yield from (
            {depth: gamma for depth, gamma in here.items() if depth != left_out}
            for left_out in here
        )
    for depth in sorted(set(depths) - set(here)):
        nearest = min(here, key=lambda other: (abs(other - depth), other))
        yield {**here, depth: here[nearest]}


def _beside(depth: int, depths: Sequence[int]) -> list[int]:
    """The next depth on either side."""
    below, above = [d for d in depths if d < depth], [d for d in depths if d > depth]
    return [*below[-1:], *above[:1]]


def _stepped(gamma: float, step: int) -> float:
    """The next threshold up or down; the same where there is none."""
    beyond = [other for other in GAMMAS if (other - gamma) * step > 0]
    return min(beyond, key=lambda other: abs(other - gamma), default=gamma)
