"""Designs from what a user types: whatever is not one says so."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design


@pytest.mark.parametrize("gamma", [1.5, -0.1, float("nan"), [0.5, 0.5], [], [2.0]])
def test_fixed_needs_a_gamma_that_makes_sense(gamma: Any) -> None:
    """It is not used, but what is no gamma was meant as something else."""
    with pytest.raises(DesignError, match="gamma"):
        Design.of("fixed", gamma=gamma, placement=(4,))


@pytest.mark.parametrize("gamma", [0.5, [0.5], np.float32(0.5)])
def test_fixed_forgets_its_gamma(gamma: Any) -> None:
    """Whatever was given, the design is the same."""
    assert Design.of("fixed", gamma=gamma, placement=(4,)) == Design.of("fixed", placement=(4,))
    assert Design.of("fixed", gamma=gamma, placement=(4,)).gammas == (0.0,)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_gamma_may_be_any_real_number(kind: Any) -> None:
    """Alone or in a list or array, and it ends as a float."""
    for gamma in (kind(0.5), [kind(0.5)], np.array([0.5], kind)):
        assert Design.of(gamma=gamma, placement=(4,)) == Design.of(gamma=0.5, placement=(4,))
        assert type(Design.of(gamma=gamma, placement=(4,)).gammas[0]) is float


def test_a_whole_number_may_be_of_any_kind() -> None:
    """Depths and cap end as int."""
    design = Design.of(placement=np.array([2, 4]), cap=np.int64(3))  # type: ignore[arg-type]
    assert design == Design.of(placement=(2, 4), cap=3)
    assert {type(number) for number in (*design.placement, design.cap)} == {int}


@pytest.mark.parametrize("kind", [np.float32, np.array, np.float64, Fraction])
def test_a_gamma_may_be_a_number_of_any_kind(kind: Any) -> None:
    """Alone or in a list, and ends as a float."""
    for given in (kind(0.5), [kind(0.5), kind(0.5)]):
        design = Design.of(placement=(2, 4), gamma=given)
        assert design == Design.of(placement=(2, 4), gamma=0.5)
        assert {type(gamma) for gamma in design.gammas} == {float}


@pytest.mark.parametrize("kind", [bool, int, np.bool_, np.array])
def test_verify_may_be_a_flag_of_any_kind(kind: Any) -> None:
    """It ends as a bool, which a manifest can hold."""
    for value in (True, False):
        assert Design.of(placement=(2,), verify=kind(value)).verify is value


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"placement": (4.9,)}, "depth is a whole number, got 4.9"),
        ({"placement": ("4",)}, "depth is a whole number, got '4'"),
        ({"placement": 4}, "list of depths, got 4"),
        ({"placement": np.array(4)}, r"list of depths, got array\(4\)"),
        ({"placement": (4,), "gamma": np.array([[0.5]])}, r"is a number, got array\(\[0.5\]\)"),
        ({"placement": (4,), "cap": 2.5}, "cap is a whole number, got 2.5"),
        (
            {"placement": (4,), "gamma": "0.75"},
            "gamma is a number or a list of numbers, got '0.75': give 0.75",
        ),
        ({"placement": (4,), "gamma": None}, "gamma is a number or a list of numbers, got None"),
        ({"placement": (4,), "gamma": [None]}, "gamma is a number, got None"),
        ({"placement": (4,), "gamma": 1j}, "gamma is a number or a list of numbers, got 1j"),
    ],
)
def test_numbers_are_not_rounded_nor_guessed(given: dict[str, Any], what: str) -> None:
    """Each is named, with what was wanted."""
    with pytest.raises(DesignError, match=what):
        Design.of(**given)
