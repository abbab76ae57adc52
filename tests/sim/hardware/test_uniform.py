"""Latencies in layers: the paper's arithmetic."""

from __future__ import annotations

import pytest

from adadecode.profiles.errors import LatencyError
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.synthetic.head_model import HeadModel
from adadecode.sim.synthetic.rate_fitting import evaluated
from adadecode.sim.synthetic.trace_generator import alike, synthetic_trace

NEVER = 1 - 1e-10


def test_heads_asked_in_vain_cost_what_the_paper_says() -> None:
    """Figure 5 at gamma 1: three heads of 0.68 layers for every token of 32 layers give 32 / (32 +
    3 x 0.68) = 0.94.
    """
    trace = synthetic_trace(
        {"synthetic": HeadModel.of(32, (8, 16, 24), (0.6, 0.8, 0.9))},
        alike(2, n_prompt=8, n_output=32),
    )
    latency = uniform_latencies(
        32, (8, 16, 24), head=0.68, verify=0.0, max_tokens=6, max_context=40
    )
    row = evaluated(trace, latency, [Design.of(gamma=NEVER, placement=(8, 16, 24))]).iloc[0]
    assert row["early_rate"] == 0
    checked = 30 / 31  # the last output of each text is not worth a draft
    assert row["speedup"] == pytest.approx(32 / (32 + checked * 3 * 0.68), rel=1e-6)


def test_a_verification_costs_as_much_as_a_head_where_nothing_is_said() -> None:
    latency = uniform_latencies(4, (2,), head=0.5, max_tokens=3, max_context=9, layer=2.0)
    assert (latency.head(2, 4), latency.verify(3), latency.layers(0, 4, 2, 5, 4)) == (1.0, 1.0, 8.0)


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"head": -1.0}, "the cost of a head is 0 layers or more, got -1"),
        ({"head": 1.0, "layer": 0.0}, "more than 0"),
    ],
)
def test_a_cost_that_cannot_be_is_refused(costs: dict[str, float], message: str) -> None:
    with pytest.raises(LatencyError, match=message):
        uniform_latencies(4, (2,), max_tokens=3, max_context=9, **costs)
