"""Which designs no other beats in everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from adadecode.sim.sweep.pareto import pareto_front

SOME = npst.arrays(
    np.float64,
    st.tuples(st.integers(0, 30), st.integers(1, 3)),
    elements=st.integers(0, 4).map(float),
)


@given(costs=SOME)
def test_a_row_is_on_the_front_unless_another_beats_it(costs: np.ndarray) -> None:
    wanted = [
        not any((other <= row).all() and (other < row).any() for other in costs) for row in costs
    ]
    assert pareto_front(costs).tolist() == wanted


def test_a_row_of_which_something_is_unknown_is_never_on_the_front() -> None:
    assert pareto_front(np.array([[np.nan, 0.0], [1.0, 1.0]])).tolist() == [False, True]
