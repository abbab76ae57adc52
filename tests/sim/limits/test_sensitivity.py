"""How much an answer hangs on each assumption."""

from __future__ import annotations

import numpy as np
import pytest

from adadecode.profiles import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.attention_latency import Attending
from adadecode.sim.limits.perturbation import agreement, with_wrong_heads
from adadecode.sim.limits.sensitivity import (
    ASSUMPTIONS,
    CONTEXT,
    MISTAKES,
    Perturbation,
    mean_bill,
    perturb,
    rank_changes,
    tornado,
    with_mistakes,
)
from adadecode.sim.limits.time_breakdown import WORK_KINDS, Billing
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.scaled_latency import ScaledLatency
from tests.support.synthetic_profile import synthetic_profile

DESIGNS = (Design.of(gamma=0.5, placement=(2, 4), gate=0.3), Design.of(gamma=0.9, placement=(6,)))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("sensitivity") / "p"
    return synthetic_profile(path, prompts=4, noise=0.0, gates=True)


@pytest.fixture(scope="module")
def predictor(profile: Profile) -> Predictor:
    return Predictor.of(profile)


@pytest.fixture(scope="module")
def billing(predictor: Predictor) -> Billing:
    return Billing.of(
        CompiledReplay.of(predictor.trace), predictor.trace.prompts, predictor.latency, 6
    )


def test_every_assumption_is_changed_both_ways(billing: Billing, predictor: Predictor) -> None:
    found = list(perturb(billing, DESIGNS, 0.2, attending=Attending(predictor.latency), cap=5))
    assert [(one.assumption, one.change) for one in found] == [
        (name, off) for name in ASSUMPTIONS for off in (-0.2, 0.2)
    ]


def test_dearer_work_is_what_the_simulator_predicts(billing: Billing, predictor: Predictor) -> None:
    """Each kind of work is made both cheaper and dearer."""
    for one in perturb(billing, DESIGNS, 0.3, cap=5):
        if one.assumption in WORK_KINDS:
            scaled = ScaledLatency(
                table=predictor.latency, factors={one.assumption: 1 + one.change}
            )
            other = Predictor(trace=predictor.trace, latency=scaled)
            assert one.speedups.tolist() == pytest.approx(
                [other.predict(design).speedup for design in DESIGNS], rel=1e-9
            )


def test_longer_contexts_take_what_attending_to_them_takes(
    profile: Profile, billing: Billing, predictor: Predictor
) -> None:
    """A layer of the synthetic profile takes 1e-7 s for each position.

    A tenth more contexts, a tenth more of that.
    """
    per_position = 1e-7
    rows = profile.latency.copy()
    layers = rows["kind"] == "layer"
    rows.loc[layers, "seconds"] += 0.1 * per_position * rows.loc[layers, "context"]
    longer = Predictor(trace=predictor.trace, latency=type(predictor.latency).from_samples(rows, 8))
    found = [
        one
        for one in perturb(billing, DESIGNS, 0.1, attending=Attending(predictor.latency), cap=5)
        if one.assumption == CONTEXT
    ]
    assert found[1].speedups.tolist() == pytest.approx(
        [longer.predict(design).speedup for design in DESIGNS], rel=1e-9
    )
    assert found[0].speedups[0] != found[1].speedups[0]


def test_contexts_are_left_out_where_one_tells_nothing(billing: Billing, profile: Profile) -> None:
    """Work that no design does is left out too."""
    rows = profile.latency[
        (profile.latency["kind"] != "layer") | (profile.latency["context"] == 24)
    ]
    one = Attending(type(billing.prices.latency).from_samples(rows, 8))  # type: ignore[attr-defined]
    assert CONTEXT not in {
        one.assumption for one in perturb(billing, DESIGNS, 0.1, attending=one, cap=5)
    }
    vanilla = [Design.of(gamma=1.0, placement=(2,))]
    assert {one.assumption for one in perturb(billing, vanilla, 0.1, cap=5)} == {
        "layers_one",
        "verify",
        "host",
        MISTAKES,
    }


def test_so_many_more_answers_are_wrong(billing: Billing) -> None:
    """Every head's own share of mistakes grows or shrinks by half; seen over many draws."""
    wrong = 1 - agreement(billing.replay, billing.prompts)
    more = np.mean(
        [
            1
            - agreement(
                with_wrong_heads(billing.replay, wrong=0.5 * wrong / (1 - wrong), seed=k),
                billing.prompts,
            )
            for k in range(200)
        ],
        axis=0,
    )
    assert more == pytest.approx(1.5 * wrong, abs=0.02)
    assert with_mistakes(billing, DESIGNS, 0.5)[0] < billing.bill(DESIGNS).speedups()[0]
    assert with_mistakes(billing, DESIGNS[:1], -0.999)[0] > billing.bill(DESIGNS).speedups()[0]


def test_draws_are_taken_together(billing: Billing) -> None:
    """Times are drawn, not their ratios."""
    bills = [
        billing.bill(DESIGNS, replay=with_wrong_heads(billing.replay, wrong=0.3, seed=k))
        for k in range(2)
    ]
    tpots = bills[0].tpots + bills[1].tpots
    assert mean_bill(bills).tolist() == pytest.approx((tpots[0] / tpots[1:]).tolist())


def test_the_largest_move_comes_first() -> None:
    def one(assumption: str, change: float, speedup: float) -> Perturbation:
        return Perturbation(assumption=assumption, change=change, speedups=np.array([speedup, 9.0]))

    rows = tornado(
        [
            one("heads", -0.1, 2.1),
            one("heads", 0.1, 1.9),
            one("verify", -0.1, 2.0),
            one("verify", 0.1, 2.5),
        ],
        2.0,
    )
    assert [row._asdict() for row in rows] == [
        {"assumption": "verify", "less": 2.0, "more": 2.5, "effect": pytest.approx(0.25)},
        {"assumption": "heads", "less": 2.1, "more": 1.9, "effect": pytest.approx(0.05)},
    ]


def test_the_answer_changes_where_another_design_is_better() -> None:
    """A tie changes nothing."""
    cases = {"a": np.array([1.5, 1.4]), "b": np.array([1.2, 1.3]), "c": np.array([1.0, 1.0])}
    best, found = rank_changes(DESIGNS, np.array([1.4, 1.3]), cases)
    assert best == 0
    assert [tuple(turn) for turn in found] == [("b", DESIGNS[1].label, 1.3, 1.2)]
