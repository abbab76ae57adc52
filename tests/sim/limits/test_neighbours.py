"""Designs next to a design."""

from __future__ import annotations

from adadecode.sim.core.design import Design
from adadecode.sim.limits.neighbours import neighbours


def test_thresholds_step_and_heads_come_and_go() -> None:
    """Of one head: a step either way; and with each other head, which asks the same."""
    found = neighbours(Design.of(gamma=0.75, placement=(4,), cap=3), (2, 4, 6))
    wanted = [
        Design.of(gamma=gamma, placement=placed, cap=3)
        for placed in ((4,), (2, 4), (4, 6))
        for gamma in (0.7, 0.75, 0.8)
    ]
    assert found[0] == Design.of(gamma=0.75, placement=(4,), cap=3)
    assert {one.label for one in found} == {one.label for one in wanted}


def test_one_head_less_of_several() -> None:
    found = {one.placement for one in neighbours(Design.of(gamma=0.5, placement=(2, 4)), (2, 4, 6))}
    assert found == {(2, 4), (2,), (4,), (2, 4, 6)}


def test_a_new_head_asks_what_the_nearest_one_asks() -> None:
    """The shallower of two as near; each head keeps its own threshold."""
    found = {
        one.placement: one.gammas
        for one in neighbours(Design.of(gamma=(0.9, 0.5), placement=(2, 6)), (2, 3, 4, 6, 7))
        if 0.9 in one.gammas
    }
    assert found[2, 3, 6] == (0.9, 0.9, 0.5)
    assert found[2, 4, 6] == (0.9, 0.9, 0.5)
    assert found[2, 6, 7] == (0.9, 0.5, 0.5)


def test_a_threshold_between_two_steps_goes_to_the_next_ones() -> None:
    """One at the end stays."""
    assert {one.gammas for one in neighbours(Design.of(gamma=0.72, placement=(4,)), (4,))} == {
        (0.7,),
        (0.72,),
        (0.75,),
    }
    assert {one.gammas for one in neighbours(Design.of(gamma=0.99, placement=(4,)), (4,))} == {
        (0.98,),
        (0.99,),
    }


def test_a_fixed_head_moves_and_an_oracle_changes_its_placement() -> None:
    fixed = neighbours(Design.of("fixed", placement=(4,), cap=2), (1, 2, 4, 6, 7))
    assert [(one.placement, one.cap) for one in fixed] == [((4,), 2), ((2,), 2), ((6,), 2)]
    oracle = neighbours(Design.of("oracle", placement=(2, 4)), (2, 4, 6))
    assert [one.placement for one in oracle] == [(2, 4), (4,), (2,), (2, 4, 6)]
