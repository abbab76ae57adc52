"""The design space: what it holds, and how large it says it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.sweep.space import Space, schedule


@given(
    depths=st.sets(st.integers(1, 15), min_size=1, max_size=5),
    policies=st.sets(st.sampled_from(list(Policy)), min_size=1),
    gammas=st.sets(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=1),
    caps=st.sets(st.integers(1, 4), min_size=1),
    slopes=st.sets(st.sampled_from([0.0, 1.0]), min_size=1),
    most=st.integers(1, 4),
    forms=st.sets(st.sampled_from([HeadForm(), HeadForm(dtype="int8"), HeadForm(shortlist=8)])),
)
def test_its_size_is_the_number_of_its_designs(
    depths, policies, gammas, caps, slopes, most, forms
) -> None:
    space = Space(
        n_layers=16,
        depths=tuple(sorted(depths)),
        policies=tuple(policies),
        gammas=tuple(gammas),
        caps=tuple(caps),
        slopes=tuple(slopes),
        max_heads=most,
        forms=tuple(forms),
    )
    designs = list(space.designs())
    assert len(designs) == space.size
    assert (
        len(set(designs)) == len(designs) or 1.0 in slopes
    )  # a slope may ask for nothing new: gamma 1 stays 1


def test_every_placement_up_to_the_largest_is_there() -> None:
    space = Space(n_layers=8, depths=(2, 4, 6), gammas=(0.5,), max_heads=2)
    assert list(space.designs()) == [
        Design.of(gamma=0.5, placement=p) for p in ((2,), (4,), (6,), (2, 4), (2, 6), (4, 6))
    ]


def test_a_schedule_asks_shallow_heads_for_more() -> None:
    """At half the depth, with slope 2, the doubt left is halved."""
    assert schedule(0.5, 2.0, (4,), 8) == (0.75,)
    assert schedule(0.5, 0.0, (1, 7), 8) == (0.5, 0.5)
    shallow, deep = schedule(0.6, 1.0, (1, 7), 8)
    assert 0.6 < deep < shallow < 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depths": (3,)}, r"no head at depth 3 \(trained: 2, 4, 6\)"),
        ({"gammas": (1.5,)}, "gamma is a probability"),
        ({"gammas": ()}, "one or more gammas"),
        ({"caps": (0,)}, "cap is at least 1"),
        ({"max_heads": 0}, "1 head or more"),
        ({"slopes": (-1.0,)}, "slope is 0 or more"),
    ],
)
def test_what_makes_no_space_is_refused(given: dict, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        Space.among((2, 4, 6), 8, **given)


def test_policies_may_be_given_by_name() -> None:
    by_name = Space.among((2, 4), 8, policies=("adadecode", "vanilla"))  # type: ignore[arg-type]
    assert by_name == Space.among((2, 4), 8, policies=(Policy.ADADECODE, Policy.VANILLA))


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(DesignError, match="unknown policy 'medusa'"):
        Space.among((2, 4), 8, policies=("medusa",))  # type: ignore[arg-type]
