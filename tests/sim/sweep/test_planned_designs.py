"""What a space holds is told from its axes as it is from its designs, with bounded work."""

from __future__ import annotations

from itertools import product

import pytest

from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.design import Policy
from adadecode.sim.core.head_form import form_named
from adadecode.sim.sweep.optuna_search import threshold_choices
from adadecode.sim.sweep.planned_designs import PlannedDesigns
from adadecode.sim.sweep.space import Space

OTHERS = list(
    Space(
        n_layers=8,
        depths=(1, 4, 7),
        policies=tuple(Policy),
        gammas=(0.0, 0.1, 0.5, 1.0),
        slopes=(0.0, 2.0),
        caps=(3, 4),
        max_heads=2,
    ).designs()
)

SPACES = [
    Space(
        n_layers=8, depths=depths, policies=policies, gammas=gammas, slopes=slopes,
        caps=(3, 5, 3), max_heads=heads, forms=tuple(map(form_named, forms)),
    )
    for depths, policies, (gammas, slopes), heads, forms in product(
        [(4,), (1, 4, 6)],
        [tuple(Policy), (Policy.ADADECODE,), (Policy.FIXED, Policy.FIXED), (Policy.VANILLA,)],
        [((0.5, 0.5), (0.0,)), ((0.0, 0.5, 0.75, 1), (0.0, 2.0, 6.0, 1e-20))],
        [1, 3],
        [(), ("full", "int8")],
    )
]  # fmt: skip
"""Schedules that ask for the same, values that are there twice, and every policy."""


@pytest.mark.parametrize("space", SPACES, ids=map(str, range(len(SPACES))))
def test_a_space_holds_the_designs_that_it_makes_and_no_others(space: Space) -> None:
    made = set(space.designs())
    planned = PlannedDesigns(space, len(made), searched=False)
    assert planned.size == len(made)
    assert all(map(planned.holds, made))
    assert [design for design in OTHERS if planned.holds(design) != (design in made)] == []


def test_refined_designs_have_thresholds_of_the_space() -> None:
    for space in SPACES:
        planned = PlannedDesigns(space, 10_000, searched=False)
        for design in OTHERS:
            fits = set(design.placement) <= set(space.depths) and not space.forms
            may = (
                design.policy is Policy.ADADECODE
                and fits
                and len(design.placement) <= space.most
                and design.cap in space.caps
                and set(design.gammas) <= set(threshold_choices(space, design.placement))
            )
            assert planned.may_be_refined(design) == may


@pytest.mark.parametrize(
    "axes",
    [
        {"max_heads": 20},
        {"gammas": tuple(number / 10**6 for number in range(10**5)), "max_heads": 1},
        {"slopes": tuple(map(float, range(10**5))), "gammas": (1.0,), "max_heads": 2},
    ],
    ids=["placements", "gammas", "schedules"],
)
def test_a_space_that_no_such_table_holds_is_refused_without_going_through_it(
    axes: dict[str, object],
) -> None:
    space = Space(**{"n_layers": 1000, "depths": tuple(range(1, 1000)), **axes})  # type: ignore[arg-type]
    for searched in (False, True):
        if searched and "max_heads" in axes and axes["max_heads"] == 20:
            continue  # a search goes through few of many placements
        with pytest.raises(ProfileError, match="designs of its plan, got 8,690"):
            PlannedDesigns(space, 8_690, searched=searched)
