"""What is a number, what is none, and that it ends as Python's own."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from adadecode.sim.core.scalars import flag, real_number, whole_number


@pytest.mark.parametrize("given", [8, np.int64(8), np.uint8(8), np.array(8)])
def test_whole_numbers_of_any_kind_are_ints(given: Any) -> None:
    assert (whole_number(given), type(whole_number(given))) == (8, int)


@pytest.mark.parametrize(
    "given",
    [
        *(8.0, np.float64(8.0), np.array(8.0), np.array([8]), True, np.bool_(True), "8", b"8"),
        *(None, np.str_("8"), np.array([8, 9]), [8], Fraction(8), 8j),
    ],
)
def test_what_would_be_rounded_or_guessed_is_no_whole_number(given: Any) -> None:
    assert whole_number(given) is None


@pytest.mark.parametrize("given", [0.5, np.float32(0.5), np.array(0.5), Fraction(1, 2)])
def test_numbers_of_any_kind_are_floats(given: Any) -> None:
    assert (real_number(given), type(real_number(given))) == (0.5, float)


def test_a_number_beyond_all_floats_is_infinite() -> None:
    assert (real_number(10**400), real_number(-(10**400))) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    "given", [True, np.bool_(True), np.array(True), "0.5", None, 0.5j, np.array([0.5]), [0.5]]
)
def test_flags_and_texts_are_no_numbers(given: Any) -> None:
    assert real_number(given) is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        *((True, True), (0, False), (np.bool_(False), False), (np.array(True), True)),
        *((2, None), ("True", None), (1.0, None), (None, None), (np.array([True]), None)),
    ],
)
def test_what_a_flag_is(given: Any, wanted: bool | None) -> None:
    assert flag(given) is wanted
