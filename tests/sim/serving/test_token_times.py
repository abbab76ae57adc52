"""Times of tokens as stretches of a clock: they are the tuple that they stand for."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.sim.serving.token_times import TokenTimes

CLOCK = array("d", [0.5 * place for place in range(20)])


@given(st.lists(st.integers(0, 20), max_size=8, unique=True).map(sorted))
def test_they_are_the_moments_of_their_stretches(bounds: list[int]) -> None:
    bounds = bounds[: len(bounds) // 2 * 2]
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    plain = tuple(moment for start, stop in pairs for moment in CLOCK[start:stop])
    times = TokenTimes(CLOCK, tuple(bounds))
    assert times == plain
    assert hash(times) == hash(plain)
    assert repr(times) == repr(plain)
    assert len(times) == len(plain)
    assert [times[place] for place in range(-len(plain), len(plain))] == [*plain, *plain]
    assert times[1:3] == plain[1:3]
    assert np.asarray(times, dtype=np.float64).tolist() == list(plain)
    for beyond in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError, match="tokens, got number"):
            times[beyond]


def test_an_array_of_them_is_a_new_one() -> None:
    times = TokenTimes(CLOCK, (2, 4))
    np.asarray(times)[0] = 99.0
    assert times == (1.0, 1.5)
    assert times != [1.0, 1.5]
