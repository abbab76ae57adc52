"""Numbers as people read them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adadecode.sim.core.number_format import UNKNOWN, known, percent, times


@pytest.mark.parametrize(
    ("share", "decimals", "written"),
    [
        (0.0284, None, "2.8%"),
        (0.00016, None, "0.016%"),
        (0.0, None, "0.0%"),
        (1, None, "100.0%"),
        (0.0281, 2, "2.81%"),
        (0.00016, 2, "0.02%"),
        (0.5, 0, "50%"),
        (np.float32(0.25), None, "25.0%"),
    ],
)
def test_a_share_is_a_percentage(share: float, decimals: int | None, written: str) -> None:
    assert percent(share, decimals) == written


def test_a_ratio_ends_with_its_sign() -> None:
    assert times(2.126) == "2.13x"
    assert times(2.126, 3) == "2.126x"
    assert times(2.126, sign="\u00d7") == "2.13\u00d7"


@pytest.mark.parametrize("number", [None, math.nan, np.nan])
def test_what_is_not_known_is_a_dash(number: float | None) -> None:
    assert not known(number)
    assert percent(number) == percent(number, 2) == times(number) == UNKNOWN
