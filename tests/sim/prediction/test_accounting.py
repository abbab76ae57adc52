"""What became of every FLOP and byte.

Rounds worked out by hand, and what must hold for every design; joules between honest ends.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, ProfileError, ShapeError
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.prediction.accounting import (
    CostPrices,
    Measure,
    Split,
    accounting,
    measured_power,
    split_costs,
)
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.pricer import Pricer
from adadecode.sim.replay.simulation import replay
from tests.support.handmade import one_text
from tests.support.synthetic_profile import synthetic_profile

COST = ModelCost(
    shape=ModelShape(
        name="tiny",
        n_layers=3,
        hidden_size=8,
        intermediate_size=16,
        n_heads=4,
        n_kv_heads=2,
        head_dim=2,
        vocab_size=32,
    )
)
VANILLA = Design.of("vanilla")
LLAMA = ModelCost(shape=find_model("llama-2-7b"))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return Trace.from_profile(synthetic_profile(tmp_path_factory.mktemp("profile") / "p"))


def amount(measure: Measure, n_tokens: int, context: int, layers: int) -> float:
    """Return the work of these layers on a batch."""
    return float(layers * getattr(COST.layer(n_tokens, context), measure))


@pytest.mark.parametrize("measure", ["flops", "bytes", "weights", "cache", "activations"])
def test_work_is_priced_by_its_cost(measure: Measure) -> None:
    """As layers, heads and verification cost, whatever ran before; and nothing for the host."""
    prices = CostPrices(COST, measure)
    assert (
        prices.layers(0, 2, 3, 10, 1) == prices.layers(1, 3, 3, 10, 3) == amount(measure, 3, 10, 2)
    )
    assert (prices.head(1, 1), prices.verify(2)) == (
        getattr(COST.head(), measure),
        getattr(COST.verify(2), measure),
    )
    assert (prices.embed(2), prices.prefill(4)) == (
        getattr(COST.embed(2), measure),
        getattr(COST.prefill(4), measure),
    )
    assert prices.host() == 0.0


@pytest.mark.parametrize("measure", ["flops", "bytes"])
def test_a_rejected_draft_by_hand(measure: Measure) -> None:
    """Three layers, a head at 1, and a prompt of 4.

    Round one: the head at position 4 says 9, which is wrong. Position 5 runs layer 1 for nothing,
    is checked for nothing, and is half of layers 2 and 3 and of the verification. Round two: the
    head is checked in vain. Round three: no head can be checked.
    """
    outputs = {(1, 1): (0.9, 9)}
    text = one_text([5, 6, 7, 8], outputs, {(1, (9,), 1): (0.1, 3)}, depths=(1,))
    design = Design.of("adadecode", gamma=0.5, placement=(1,))
    done = accounting(text, design, COST)
    embed = getattr(COST.embed(1), measure)
    useful = amount(measure, 1, 5, 1) + embed + amount(measure, 2, 6, 2) / 2  # round one
    useful += amount(measure, 1, 6, 3) + amount(measure, 1, 7, 3) + 2 * embed
    wasted = amount(measure, 1, 6, 1) + embed + amount(measure, 2, 6, 2) / 2
    head, verify = (
        getattr(COST.head(), measure),
        {n: getattr(COST.verify(n), measure) for n in (1, 2)},
    )
    expected = Split(
        useful=useful,
        discarded=wasted,
        heads=2 * head,
        heads_discarded=head,
        verify=verify[2] / 2 + 2 * verify[1],
        verify_discarded=verify[2] / 2,
    )
    found = getattr(done, measure)
    for one in fields(Split):
        assert getattr(found, one.name) == pytest.approx(getattr(expected, one.name) / 3), one.name
    assert (done.tokens, done.prompts, done.modelled_share) == (3, 1, 0.0)
    assert found.wasted == pytest.approx((wasted + head + verify[2] / 2) / 3)


def test_accepted_drafts_are_not_discarded() -> None:
    """Two right drafts: their rounds' rows were all of use."""
    text = one_text([5, 6, 7, 8], {(1, 1): (0.9, 6), (2, 1): (0.9, 7)}, depths=(1,))
    done = accounting(text, Design.of("adadecode", gamma=0.5, placement=(1,)), COST)
    assert done.flops.wasted == 0
    assert done.flops.heads > 0


def test_a_token_of_llama_2_7b_costs_two_flops_and_two_bytes_for_each_weight_it_meets() -> None:
    """All but the embedding's, of which one row is read.

    Attention on a short text is a thousandth.
    """
    text = one_text(list(range(5, 15)), n_layers=32, depths=(8,))
    met = LLAMA.shape.total_parameters - LLAMA.shape.embedding_parameters
    done = accounting(text, VANILLA, LLAMA)
    assert done.flops.total == pytest.approx(2 * met, rel=2e-3)
    assert done.bytes.total == pytest.approx(2 * met, rel=2e-3)
    assert CostPrices(LLAMA, "weights").layers(0, 32, 1, 10, 32) / (2 * met) == pytest.approx(
        1, rel=0.03
    )  # the LM head aside


def test_gamma_1_is_vanilla(trace: Trace) -> None:
    cost = replace(COST, shape=replace(COST.shape, n_layers=8))
    never = accounting(trace, Design.of("adadecode", gamma=1.0, placement=(2, 4, 6)), cost)
    plain = accounting(trace, VANILLA, cost)
    assert (never.flops, never.bytes) == (plain.flops, plain.bytes)


def test_drafts_that_nobody_verifies_are_all_kept(trace: Trace) -> None:
    cost = replace(COST, shape=replace(COST.shape, n_layers=8))
    done = accounting(trace, Design.of("adadecode", gamma=0.2, placement=(2,), verify=False), cost)
    assert done.flops.wasted == done.bytes.wasted == 0


@st.composite
def designs(draw: st.DrawFn) -> Design:
    policy = draw(st.sampled_from(["adadecode", "fixed", "oracle"]))
    heads = draw(
        st.sets(st.sampled_from([2, 4, 6]), min_size=1, max_size=1 if policy == "fixed" else 3)
    )
    return Design.of(
        policy,
        gamma=draw(st.floats(0, 1)),
        placement=sorted(heads),
        cap=draw(st.integers(1, 7)),
        verify=draw(st.booleans()),
    )


@given(design=designs(), measure=st.sampled_from(["flops", "bytes", "weights"]))
def test_the_parts_are_all_there_is(trace: Trace, design: Design, measure: Measure) -> None:
    """They add up to what a replay priced in FLOPs or bytes comes to; none is below 0."""
    prices = CostPrices(replace(COST, shape=replace(COST.shape, n_layers=8)), measure)
    runs = replay(trace, prices, design, events=True)
    split = split_costs(runs, design.boundaries(8), prices)
    assert split.total == pytest.approx(sum(run.seconds for run in runs))
    assert min(getattr(split, one.name) for one in fields(Split)) >= 0
    assert sum(event.seconds for run in runs for event in run.events) == pytest.approx(split.total)


@given(design=designs())
def test_useful_work_is_vanillas(trace: Trace, design: Design) -> None:
    """Every position that stays goes through every layer and the verification once.

    So it is for every design. With a window of one, a position costs the same everywhere. Drafts
    that nobody verifies skip both.
    """
    cost = ModelCost(shape=replace(COST.shape, n_layers=8, sliding_window=1))
    ours, plain = (
        accounting(trace, replace(design, verify=True), cost).flops,
        accounting(trace, VANILLA, cost).flops,
    )
    assert (ours.useful, ours.verify) == (pytest.approx(plain.useful), pytest.approx(plain.verify))


def test_what_rests_on_modelled_branches_is_told() -> None:
    """After a wrong draft that nobody followed, the branch is drawn."""
    text = one_text([5, 6, 7, 8], {(1, 1): (0.9, 9)}, depths=(1,))
    done = accounting(text, Design.of("adadecode", gamma=0.5, placement=(1,)), COST)
    assert 0 < done.modelled_share < 1


def test_another_models_shape_is_refused(trace: Trace) -> None:
    with pytest.raises(ShapeError, match="tiny has 3 layers, the trace 8"):
        accounting(trace, VANILLA, COST)


def test_text_without_a_second_token_is_refused() -> None:
    with pytest.raises(ProfileError, match="nothing to account for"):
        accounting(one_text([5]), VANILLA, COST)


def test_a_head_that_was_not_trained_is_refused() -> None:
    with pytest.raises(DesignError, match="no head at depth 2"):
        accounting(one_text([5, 6], depths=(1,)), Design.of("adadecode", placement=(2,)), COST)


def test_for_programs_everything_is_per_token(trace: Trace) -> None:
    cost = replace(COST, shape=replace(COST.shape, n_layers=8))
    design = Design.of("adadecode", gamma=0.5, placement=(2, 6))
    document = accounting(
        trace, design, cost, trace.prompts[:2], model=BranchModel(trace)
    ).to_dict()
    assert (document["design"], document["prompts"]) == (design.label, 2)
    assert document["flops_per_token"]["total"] == pytest.approx(
        sum(
            amount
            for part, amount in document["flops_per_token"].items()
            if part not in ("total", "wasted")
        )
    )
    assert document["bytes_per_token"]["wasted"] <= document["bytes_per_token"]["total"]


def test_events_priced_anew_cost_the_same(trace: Trace) -> None:
    """A `Pricer` needs only the order of the work."""
    prices = CostPrices(replace(COST, shape=replace(COST.shape, n_layers=8)), "flops")
    design = Design.of("adadecode", gamma=0.3, placement=(4,))
    pricer = Pricer(prices, design.boundaries(8))
    assert all(
        pricer(event.work) == event.seconds
        for run in replay(trace, prices, design, events=True)
        for event in run.events
    )


def test_measured_power_is_joules_over_seconds_of_timed_runs(tmp_path: Path) -> None:
    """6 J in 0.4 s and 2 J in 0.2 s, prefill included.

    A run that tells nothing, and an instrumented one, say nothing.
    """
    design = {
        "policy": "adadecode",
        "placement": (2, 4),
        "gammas": (0.75, 0.75),
        "cap": 5,
        "verify": True,
        "n_tokens": 20,
    }
    timed = [
        (0, 0, 6.0, 0.3, False),
        (1, 0, 2.0, 0.1, False),
        (0, 1, math.nan, 9.0, False),
        (1, 1, math.nan, 9.0, False),
        (0, 2, 9.0, 0.1, True),
    ]
    rows = [
        {
            **design,
            "prompt": prompt,
            "repeat": repeat,
            "energy_j": joules,
            "prefill_s": 0.1,
            "decode_s": seconds,
            "instrumented": instrumented,
        }
        for prompt, repeat, joules, seconds, instrumented in timed
    ]
    power = measured_power(synthetic_profile(tmp_path / "p", runs=pd.DataFrame(rows)))
    assert power == {"adadecode 2/4 gamma 0.75": pytest.approx(8.0 / 0.6)}


def test_a_recording_without_energy_has_no_power(tmp_path: Path) -> None:
    assert measured_power(synthetic_profile(tmp_path / "p")) == {}
