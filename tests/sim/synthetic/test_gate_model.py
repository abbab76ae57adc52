"""Synthetic gates: scores that are calibrated, of the quality asked for, as it was measured."""

from __future__ import annotations

import numpy as np
import pytest

from adadecode.profiles import Trace
from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.synthetic.gate_model import MEASURED, good_exits, quality_of, recall_at
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.synthetic.trace_generator import alike, synthetic_trace
from tests.support.handmade import ConstantLatency

PLAIN = HeadModel.of(12, (3, 6, 9), (0.45, 0.65, 0.85))
GATED = PLAIN.with_gates([0.9])
PROMPTS = alike(4, n_output=1024)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return synthetic_trace({"synthetic": GATED}, PROMPTS)


def heard(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and where heads are good exits, shape ``(outputs, heads)``."""
    score = np.concatenate([trace.gates(prompt)[1:, :-1] for prompt in trace.prompts])
    token = np.concatenate([trace.tokens(prompt)[1:] for prompt in trace.prompts])
    confidence = np.concatenate([trace.confidences(prompt)[1:] for prompt in trace.prompts])
    return score, good_exits(token == token[:, -1:], confidence)[:, :-1]


def test_gates_change_nothing_else(trace: Trace) -> None:
    """Tokens and confidences are those of the same model without gates."""
    plain = synthetic_trace({"synthetic": PLAIN}, PROMPTS)
    assert (trace.has_gates, plain.has_gates) == (True, False)
    for prompt in trace.prompts:
        assert (trace.tokens(prompt) == plain.tokens(prompt)).all()
        np.testing.assert_array_equal(trace.confidences(prompt), plain.confidences(prompt))


def test_scores_have_the_quality_and_are_calibrated(trace: Trace) -> None:
    """Of the outputs scored about 0.6, about 0.6 are good exits."""
    score, good = heard(trace)
    for head in range(3):
        assert quality_of(score[:, head], good[:, head]) == pytest.approx(0.9, abs=0.02)
    for low in (0.1, 0.3, 0.5, 0.7):
        among = (score > low) & (score <= low + 0.2)
        assert good[among].mean() == pytest.approx(score[among].mean(), abs=0.05)


@pytest.mark.parametrize(("share", "recall"), [(0.144, 0.84), (0.149, 0.88), (0.254, 0.76)])
def test_the_measured_quality_finds_what_was_measured(share: float, recall: float) -> None:
    """Asking at 30 % of the outputs, at depths 12, 18 and 21 of SmolLM2, to 5 points."""
    assert recall_at(0.3, share, MEASURED) == pytest.approx(recall, abs=0.045)


def test_the_quality_is_found_again(trace: Trace) -> None:
    fitted = fit_trace(trace)
    assert fitted.gates == pytest.approx((0.9, 0.9, 0.9), abs=0.02)
    assert fitted.only((3, 9)).gates == (fitted.gates[0], fitted.gates[2])


def test_a_gate_saves_checks_and_loses_few_exits(trace: Trace) -> None:
    """On the same text with the same gamma."""
    predictor = Predictor(trace=trace, latency=ConstantLatency())
    plain, gated = (
        predictor.predict(Design.of(placement=(3,), gamma=0.8, gate=gate)) for gate in (0.0, 0.1)
    )
    assert gated.checks < 0.6 * plain.checks
    assert gated.accepted > 0.8 * plain.accepted
    assert gated.gates_asked > 0 == plain.gates_asked


def test_a_perfect_gate_asks_at_good_exits_alone() -> None:
    perfect = synthetic_trace({"synthetic": PLAIN.with_gates([1.0])}, PROMPTS)
    score, good = heard(perfect)
    assert ((score > 0.5) == good).all()


@pytest.mark.parametrize("quality", [[0.4], [1.1], [0.9, 0.9]])
def test_impossible_gates_are_refused(quality: list[float]) -> None:
    with pytest.raises(SyntheticError, match="gate"):
        PLAIN.with_gates(quality)


def test_gates_of_one_domain_alone_are_refused() -> None:
    with pytest.raises(SyntheticError, match="in all domains or none"):
        synthetic_trace({"a": PLAIN, "b": GATED}, [*alike(1, domain="a"), *alike(1, domain="b")])


def test_gates_that_are_not_there_cannot_be_asked() -> None:
    plain = synthetic_trace({"synthetic": PLAIN}, alike(1))
    predictor = Predictor(trace=plain, latency=ConstantLatency())
    with pytest.raises(DesignError, match="no gates in this recording"):
        predictor.predict(Design.of(placement=(3,), gate=0.2))
