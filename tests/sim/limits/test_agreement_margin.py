"""How wrong heads may be until a design stops paying."""

from __future__ import annotations

import pytest

from adadecode.profiles import LatencyTable, Profile, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.limits.agreement_margin import aware_margin, rates, unaware_margin
from adadecode.sim.limits.perturbation import with_wrong_heads
from adadecode.sim.limits.time_breakdown import Billing
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError
from adadecode.sim.synthetic.trace_generator import alike, synthetic_trace
from tests.support.synthetic_profile import synthetic_profile

MODEL = HeadModel.of(2, (1,), (0.9,), correlations={"along_text": 0.0})
TRACE = synthetic_trace({"synthetic": MODEL}, alike(4, n_prompt=4, n_output=512), seed=1)
FREE = uniform_latencies(2, (1,), head=0.0, max_tokens=2, max_context=600)
ONE_DRAFT = Design.of(gamma=0.0, placement=(1,), cap=1)
"""Two layers, a head between them for nothing.

A round runs 3 layers and gives 1 + a tokens, so that a = 0.5 is break-even.
"""


def billing(trace: Trace, latency: LatencyTable, cap: int = 1) -> Billing:
    return Billing.of(CompiledReplay.of(trace), trace.prompts, latency, cap + 1)


def test_break_even_is_where_it_is_by_hand() -> None:
    """Half of the drafts held: of nine tenths that are right, four ninths may be wrong."""
    found = unaware_margin(billing(TRACE, FREE), ONE_DRAFT)
    assert found.wrong == pytest.approx(1 - 0.5 / 0.9, abs=0.02)
    assert found.right is None
    assert found.then is not None
    assert found.then.speedup == pytest.approx(1.0, abs=0.002)
    assert (found.now.accepted, found.then.accepted) == (
        pytest.approx(0.9, abs=0.02),
        pytest.approx(0.5, abs=0.01),
    )
    assert found.then.discarded == pytest.approx(0.5, abs=0.01)


def test_a_design_that_does_not_pay_needs_mistakes_put_right() -> None:
    """A third is right, a half is needed: a quarter of the other two thirds."""
    trace = synthetic_trace(
        {"synthetic": HeadModel.of(2, (1,), (1 / 3,))}, alike(4, n_prompt=4, n_output=512), seed=1
    )
    found = unaware_margin(billing(trace, FREE), ONE_DRAFT)
    assert found.now.speedup < 1
    assert found.wrong is None
    assert found.right == pytest.approx(0.25, abs=0.04)


def test_where_no_share_will_do_none_is_told() -> None:
    """Heads too dear even where they are always right."""
    dear = uniform_latencies(2, (1,), head=3.0, verify=0.0, max_tokens=2, max_context=600)
    found = unaware_margin(billing(TRACE, dear), ONE_DRAFT)
    assert (found.wrong, found.right, found.then) == (None, None, None)


def test_rates_are_the_simulators(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of the recorded trace; and of draws together, all of which count."""
    profile: Profile = synthetic_profile(tmp_path_factory.mktemp("acceptance") / "p", prompts=4)
    predictor, design = Predictor.of(profile), Design.of(gamma=0.4, placement=(2, 4))
    one = billing(predictor.trace, predictor.latency, cap=5)
    got, wanted = rates([one.bill([design])]), predictor.predict(design)
    assert (got.speedup, got.discarded) == (
        pytest.approx(wanted.speedup),
        pytest.approx(wanted.reject_rate),
    )
    assert got.drafts_per_token == pytest.approx(wanted.drafts / (wanted.tokens - wanted.prompts))
    never = one.bill([design], replay=with_wrong_heads(one.replay, wrong=1.0))
    both = rates([one.bill([design]), never])
    drafts = wanted.drafts + int(never.work.tally("drafts")[1])
    assert both.accepted == pytest.approx(wanted.accepted / drafts)


def test_a_design_that_never_drafts_discards_nothing() -> None:
    """Its head is never as sure as that."""
    assert (
        rates([billing(TRACE, FREE).bill([Design.of(gamma=1.0, placement=(1,), cap=1)])]).discarded
        == 0.0
    )


def test_harder_text_needs_the_agreement_that_it_does_by_hand() -> None:
    """However sure: gamma 0 drafts all, and half of it must hold."""
    agreement, needed = aware_margin(TRACE, TRACE.prompts, ONE_DRAFT, FREE)
    assert agreement[0] == pytest.approx(0.9, abs=0.02)
    assert needed.model is not None
    assert needed.model.agreement[0] == pytest.approx(0.5, abs=0.05)


def test_heads_that_are_never_asked_are_not_fitted() -> None:
    """One of the three heads is checked and fitted."""
    model = HeadModel.of(8, (2, 4, 6), (0.5, 0.7, 0.9))
    trace = synthetic_trace({"synthetic": model}, alike(2, n_prompt=4, n_output=200))
    latency = uniform_latencies(8, (2, 4, 6), head=0.2, max_tokens=6, max_context=300)
    agreement, needed = aware_margin(
        trace, trace.prompts, Design.of(gamma=(1.0, 0.6), placement=(2, 4)), latency
    )
    assert len(agreement) == 1
    assert needed.now["design"] == "adadecode 4 gamma 0.6"


def test_too_little_text_is_refused() -> None:
    few = synthetic_trace({"synthetic": MODEL}, alike(1, n_prompt=4, n_output=10))
    with pytest.raises(SyntheticError, match="wanted 30 outputs or more to fit heads to"):
        aware_margin(few, few.prompts, ONE_DRAFT, FREE)
