"""Numbers, lists and maps that users type: what is read, and what is refused with what to type
instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.core.parsing import (
    finite,
    integers,
    numbers,
    parse_head_map,
    percentage,
    rising_integers,
    scale_head_map,
)


def test_lists_keep_their_order() -> None:
    assert numbers("--gamma", "0.5, 0.25") == [0.5, 0.25]
    assert integers("--heads", "7,3") == [7, 3]


@pytest.mark.parametrize("parse", [numbers, integers, rising_integers])
@pytest.mark.parametrize("text", ["", " ", ",", "4,"])
def test_lists_and_their_parts_are_not_empty(
    parse: Callable[[str, str], object], text: str
) -> None:
    with pytest.raises(InputError, match=rf"numbers separated by commas, like .*, got '{text}'"):
        parse("--gamma", text)


def test_rising_integers_are_sorted() -> None:
    assert rising_integers("--contexts", "64,8") == (8, 64)


@pytest.mark.parametrize("text", ["", "0,4", "-1", "4;8", "4,,8"])
def test_rising_integers_want_one_or_more_from_1_on(text: str) -> None:
    with pytest.raises(InputError, match="wanted --contexts as "):
        rising_integers("--contexts", text)


def test_the_message_names_the_option_and_what_was_typed() -> None:
    with pytest.raises(
        InputError,
        match=r"wanted --heads as whole numbers separated by commas, like 4,8, got '2\.5'",
    ):
        integers("--heads", "2.5")
    with pytest.raises(InputError, match="wanted --gamma as numbers separated by commas"):
        numbers("--gamma", "high")


def test_a_head_map() -> None:
    assert parse_head_map("3:8,7:16") == {3: 8, 7: 16}


@pytest.mark.parametrize("text", ["", "3", "3:x", "3:8:9", "3:8,3:9"])
def test_a_head_map_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--map"):
        parse_head_map(text)


def test_a_head_map_in_proportion() -> None:
    assert scale_head_map([3, 7], 10, 20) == "3:6,7:14"


def test_of_heads_that_would_share_a_depth_the_deepest_stays() -> None:
    assert scale_head_map([1, 2, 9], 10, 4) == "2:1,9:3"


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), (" 2.5 % ", 0.025), ("0%", 0.0), ("150%", 1.5)]
)
def test_a_percentage_is_a_share(text: str, share: float) -> None:
    assert percentage("--fail-over", text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("5", "got '5': type 5%$"),
        ("0.05", r"got '0\.05': type 5% for a share of 0\.05, or 0\.05%"),
        ("nan%", "from 0% on, like 5%, got 'nan%'"),
        ("nan", "from 0% on"),
        ("-1%", "from 0% on"),
        ("inf%", "from 0% on"),
        ("", "from 0% on"),
        ("five%", "from 0% on"),
    ],
)
def test_a_percentage_without_its_sign_or_out_of_range_is_refused(text: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"wanted --fail-over as a percentage.*{hint}"):
        percentage("--fail-over", text)


def test_a_finite_number_in_its_range_is_returned() -> None:
    assert finite("--lr", 1e-3, low=0) == 1e-3
    assert finite("--share", 1, low=0, high=1) == 1
    assert finite("--shift", -3.5) == -3.5


@pytest.mark.parametrize(
    ("value", "low", "high", "wanted"),
    [
        (math.nan, None, None, "a finite number, got nan"),
        (math.inf, 0, None, "a finite number from 0 on, got inf"),
        (-1, 0, None, "a finite number from 0 on, got -1"),
        (2, None, 1, "a finite number up to 1, got 2"),
        (1.5, 0, 1, r"a number in \[0, 1\], got 1\.5"),
    ],
)
def test_a_number_out_of_range_is_refused(
    value: float, low: float | None, high: float | None, wanted: str
) -> None:
    with pytest.raises(InputError, match=f"wanted --lr as {wanted}"):
        finite("--lr", value, low, high)
