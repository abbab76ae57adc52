"""The agreement that a speedup needs."""

from __future__ import annotations

import math

import pytest

from adadecode.sim.core.design import Design
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError
from adadecode.sim.synthetic.required_agreement import needed_agreement
from adadecode.sim.synthetic.trace_generator import alike

MODEL = HeadModel.of(2, (1,), (0.5,), correlations={"along_text": 0.0})
PROMPTS = alike(4, n_prompt=4, n_output=512)
LATENCY = uniform_latencies(2, (1,), head=0.0, max_tokens=2, max_context=600)
ONE_DRAFT = Design.of(gamma=0.0, placement=(1,), cap=1)


def test_one_draft_a_round_needs_what_can_be_worked_out_by_hand() -> None:
    """Two layers, a head between them for nothing.

    A round runs 3 layers and gives 1 + a tokens for which vanilla runs 2 each, so 1.2 x needs a =
    0.8.
    """
    needed = needed_agreement(MODEL, LATENCY, [ONE_DRAFT], 1.2, PROMPTS)
    assert needed.model is not None
    assert needed.row is not None
    assert needed.model.agreement[0] == pytest.approx(0.8, abs=0.03)
    assert needed.row["speedup"] == pytest.approx(1.2, abs=0.005)
    assert needed.now["speedup"] == pytest.approx(1.0, abs=0.03)


def test_the_range_is_what_no_and_full_agreement_give() -> None:
    needed = needed_agreement(MODEL, LATENCY, [ONE_DRAFT], 1.2, PROMPTS)
    assert needed.lowest == pytest.approx(2 / 3, abs=0.02)
    assert needed.highest == pytest.approx(4 / 3, abs=0.02)


@pytest.mark.parametrize("speedup", [0.5, 1.6])
def test_a_speedup_out_of_reach_has_no_answer_but_the_range(speedup: float) -> None:
    needed = needed_agreement(MODEL, LATENCY, [ONE_DRAFT], speedup, PROMPTS)
    assert (needed.shift, needed.model, needed.row) == (None, None, None)
    assert not needed.lowest <= speedup <= needed.highest


def test_the_best_of_several_designs_counts() -> None:
    slow = Design.of(gamma=1.0, placement=(1,), cap=1)
    needed = needed_agreement(MODEL.shifted(1.0), LATENCY, [slow, ONE_DRAFT], 1.25, PROMPTS)
    assert needed.lowest == pytest.approx(1.0)
    assert needed.row is not None
    assert needed.row["design"] == ONE_DRAFT.label


@pytest.mark.parametrize("speedup", [0.0, -1.0, math.inf, math.nan])
def test_a_speedup_that_is_none_is_refused(speedup: float) -> None:
    with pytest.raises(SyntheticError, match="a speedup is a number above 0"):
        needed_agreement(MODEL, LATENCY, [ONE_DRAFT], speedup, PROMPTS)
