"""The designs next to a design.

They are one step of the threshold away, or have one head less or one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from adadecode.sim.core.design import Design, Policy
from adadecode.sim.sweep.space import GAMMAS


def neighbours(design: Design, depths: Sequence[int]) -> tuple[Design, ...]:
    """Return a design and its neighbours, each once, the design itself first.

    Thresholds step through `adadecode.sim.sweep.space.GAMMAS`, all heads together; a head that is
    added has the thresholds of the nearest one, for its gate too. The neighbours of fixed, which
    has one head and no threshold, are the next heads on either side; those of the oracle, which has
    no threshold, are other placements alone.

    Args:
        design: The design.
        depths: Depths of the heads to choose from.
    """
    if design.policy is Policy.FIXED:
        others: Iterator[Design] = (
            _with_heads(design, {depth: 0.0}) for depth in _adjacent(design.placement[0], depths)
        )
    elif design.policy is Policy.ORACLE:
        others = (_with_heads(design, gammas) for gammas in _placements(design, depths))
    else:
        steps = range(-1, 2)
        others = (
            _with_heads(design, {depth: _stepped(gamma, step) for depth, gamma in gammas.items()})
            for gammas, step in product(_placements(design, depths), steps)
        )
    return tuple({one.label: one for one in (design, *others)}.values())


def _with_heads(design: Design, gammas: dict[int, float]) -> Design:
    """Return the design with these thresholds by depth."""
    placement = sorted(gammas)
    return Design.of(
        design.policy,
        placement=placement,
        gamma=[gammas[depth] for depth in placement],
        cap=design.cap,
        gate=[design.gate(_nearest(depth, design.placement)) for depth in placement],
    )


def _nearest(depth: int, depths: Iterable[int]) -> int:
    """Return the depth that is nearest to another one, the shallower of two."""
    return min(depths, key=lambda other: (abs(other - depth), other))


def _placements(design: Design, depths: Sequence[int]) -> Iterator[dict[int, float]]:
    """Yield thresholds by depth: the design's, then those with one head less, or one more."""
    here = dict(zip(design.placement, design.gammas, strict=True))
    yield here
    if len(here) > 1:
        yield from (
            {depth: gamma for depth, gamma in here.items() if depth != left_out}
            for left_out in here
        )
    for depth in sorted(set(depths) - set(here)):
        yield {**here, depth: here[_nearest(depth, here)]}


def _adjacent(depth: int, depths: Sequence[int]) -> list[int]:
    """Return the next depth on either side."""
    below, above = [d for d in depths if d < depth], [d for d in depths if d > depth]
    return [*below[-1:], *above[:1]]


def _stepped(gamma: float, step: int) -> float:
    """Return the next threshold up or down; the same where there is none."""
    beyond = [other for other in GAMMAS if (other - gamma) * step > 0]
    return min(beyond, key=lambda other: abs(other - gamma), default=gamma)
