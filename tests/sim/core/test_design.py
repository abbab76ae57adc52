"""Designs from what a user types: whatever is not one says so."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design, Policy


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


# ---- gates ----


def test_gates_that_are_not_asked_are_none() -> None:
    """Thresholds of 0 for all heads, or nothing: the same design, with the same name."""
    plain = Design.of(placement=(2, 4))
    for gate in (0, 0.0, [0.0, 0.0], np.zeros(2)):
        assert Design.of(placement=(2, 4), gate=gate) == plain
    assert (plain.gates, plain.label) == ((), "adadecode 2/4 gamma 0.75")
    assert "gates" not in plain.parts()


def test_a_gate_is_named_as_a_gamma_is() -> None:
    assert Design.of(placement=(2, 4), gate=0.3).label == "adadecode 2/4 gamma 0.75 gate 0.3"
    mixed = Design.of(placement=(2, 4), gate=(0.3, 0), cap=3)
    assert mixed.label == "adadecode 2/4 gamma 0.75 gate 0.3/0 cap 3"
    assert (mixed.gate(2), mixed.gate(4), mixed.parts()["gates"]) == (0.3, 0.0, (0.3, 0.0))


def test_a_threshold_of_1_splits_nothing() -> None:
    assert Design.of(placement=(2, 4), gate=(1, 0.5)).boundaries(6) == (0, 4, 6)


@pytest.mark.parametrize(
    ("gate", "what"),
    [
        (1.5, r"gate threshold is a probability in \[0, 1\], got 1.5"),
        (float("nan"), "got nan"),
        ((0.1, 0.2, 0.3), r"one gate threshold per head \(2 at \[2, 4\]\), got 3"),
        ((0.0, 0.0, 0.0), r"one gate threshold per head \(2 at \[2, 4\]\), got 3"),
        ("0.3", "a gate threshold is a number or a list of numbers, got '0.3': give 0.3"),
        ([None], "a gate threshold is a number, got None"),
    ],
)
def test_gates_that_make_no_sense_are_refused(gate: Any, what: str) -> None:
    """Also by policies that ignore them."""
    with pytest.raises(DesignError, match=what):
        Design.of(placement=(2, 4), gate=gate)
    with pytest.raises(DesignError, match="gate"):
        Design.of("oracle", placement=(2, 4), gate=gate)


def test_only_adadecode_asks_gates() -> None:
    """Other policies forget what was given; a design that claims otherwise is refused."""
    assert Design.of("oracle", placement=(2,), gate=0.3) == Design.of("oracle", placement=(2,))
    assert Design.of("vanilla", gate=(0.3, 0.4)) == Design.of("vanilla")
    with pytest.raises(DesignError, match="only the policy adadecode asks gates"):
        Design(policy=Policy.ORACLE, placement=(2,), gammas=(0.0,), gates=(0.3,))
