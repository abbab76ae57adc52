"""Models of the heads taken from recorded traces."""

from __future__ import annotations

import pytest

from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.synthetic.trace_generator import alike, synthetic_trace

TRUE = HeadModel.of(
    16,
    (4, 8, 12),
    (0.6, 0.75, 0.9),
    (0.5, 0.6, 0.8),
    2.0,
    {"along_text": 0.3, "agreement_across": 0.6, "confidence_across": 0.8, "ease": 0.5},
)


def test_the_parameters_of_a_trace_are_found_again() -> None:
    model = fit_trace(synthetic_trace({"synthetic": TRUE}, alike(16), seed=4, followed=0))
    assert model.agreement == pytest.approx(TRUE.agreement, abs=0.03)
    for got, true in ((model.right, TRUE.right), (model.wrong, TRUE.wrong)):
        assert [beta.mean for beta in got] == pytest.approx([beta.mean for beta in true], abs=0.03)
        assert [beta.concentration for beta in got] == pytest.approx(
            [beta.concentration for beta in true], rel=0.2
        )
    assert model.along_text == pytest.approx(0.3, abs=0.05)
    for name in ("agreement_across", "confidence_across", "ease"):
        assert getattr(model, name) == pytest.approx(getattr(TRUE, name), abs=0.1), name


def test_only_the_prompts_named_are_fitted_to() -> None:
    models = {"hard": TRUE, "easy": TRUE.shifted(1.0)}
    trace = synthetic_trace(
        models, [*alike(2, n_output=100, domain="hard"), *alike(2, n_output=100, domain="easy")]
    )
    easy = fit_trace(trace, (2, 3)).agreement
    assert easy == tuple(trace.agreement().query("domain == 'easy' and depth < 16")["agree"])


def test_a_head_that_is_always_right_can_be_fitted() -> None:
    always = HeadModel.of(16, (4, 8), (0.7, 1.0), (0.6, 0.9))
    model = fit_trace(synthetic_trace({"synthetic": always}, alike(2, n_output=100)))
    assert model.agreement[1] == 1.0
    assert model.right[1].mean == pytest.approx(0.9, abs=0.05)


def test_one_head_can_be_fitted() -> None:
    one = HeadModel.of(16, (4,), (0.7,), (0.6,))
    assert fit_trace(synthetic_trace({"synthetic": one}, alike(2, n_output=100))).depths == (4,)


def test_too_little_text_is_refused() -> None:
    with pytest.raises(SyntheticError, match="wanted 30 outputs or more to fit heads to, got 9"):
        fit_trace(synthetic_trace({"synthetic": TRUE}, alike(1, n_output=10)))
