"""Where the time of designs goes, by kind of work."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import LatencyTable, Profile
from adadecode.profiles.errors import DesignError, LatencyError
from adadecode.sim.core.design import Design
from adadecode.sim.limits.time_breakdown import WORK_KINDS, Billing
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.handmade import ConstantLatency, one_text
from tests.support.scaled_latency import ScaledLatency
from tests.support.synthetic_profile import synthetic_profile

DESIGNS = (
    Design.of(gamma=0.5, placement=(2, 4)),
    Design.of(gamma=(0.9, 0.2, 0.4), placement=(2, 4, 6), cap=3),
    Design.of("fixed", placement=(4,), cap=2),
    Design.of("oracle", placement=(2, 6)),
    Design.of(gamma=1.0, placement=(4,)),
    Design.of(gamma=0.5, placement=(2, 4), gate=(0.4, 0.2)),
)


class Anywhere(ConstantLatency):
    """Latencies that are the same at any context."""

    contexts = (1, 100)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("bill") / "p", prompts=4, gates=True)


@pytest.fixture(scope="module")
def predictor(profile: Profile) -> Predictor:
    return Predictor.of(profile)


def billing(
    predictor: Predictor, latency: LatencyTable | ScaledLatency | None = None, **settings
) -> Billing:
    table = latency or predictor.latency
    replay = CompiledReplay.of(predictor.trace, predictor.model)
    return Billing.of(replay, settings.get("prompts", predictor.trace.prompts), table, 6)


def test_a_round_is_billed_as_it_can_be_by_hand() -> None:
    """Two drafts at depth 1 and the token after them.

    The first layer of each, both other layers of all three at once, and three tokens gained.
    """
    outputs = {(1, 1): (0.9, 11), (2, 1): (0.9, 12)}
    replay = CompiledReplay.of(one_text([10, 11, 12, 13], outputs, depths=(1,)))
    bill = Billing.of(replay, (0,), Anywhere(), 3).bill(
        [Design.of(gamma=0.5, placement=(1,), cap=2)]
    )
    layers_one, layers_several = 3 * (1 + 0.125), 2.0
    ours = [layers_one, layers_several, 2 * 0.25, 0.5, 7 * 0.0625, 0]
    assert (3 * bill.seconds[1]).tolist() == ours
    assert (3 * bill.vanilla).tolist() == [3 * (3 + 0.125), 0, 0, 3 * 0.5, 6 * 0.0625, 0]


def test_the_kinds_add_up_to_the_prediction(predictor: Predictor) -> None:
    """They do so for every policy, with rejections."""
    bill = billing(predictor).bill(DESIGNS)
    for design, tpot, speedup in zip(DESIGNS, bill.tpots[1:], bill.speedups(), strict=True):
        wanted = predictor.predict(design)
        assert (tpot, speedup) == (
            pytest.approx(wanted.tpot_s, rel=1e-9),
            pytest.approx(wanted.speedup, rel=1e-9),
        ), design.label


@pytest.mark.parametrize("kind", WORK_KINDS)
def test_dearer_work_of_a_kind_is_priced_as_the_simulator_does(
    predictor: Predictor, kind: str
) -> None:
    """One and a half times as long, for vanilla too."""
    dearer = Predictor(
        trace=predictor.trace, latency=ScaledLatency(table=predictor.latency, factors={kind: 1.5})
    )
    speedups = billing(predictor).bill(DESIGNS).speedups({kind: 1.5})
    assert speedups.tolist() == pytest.approx(
        [dearer.predict(design).speedup for design in DESIGNS], rel=1e-9
    )


def test_some_prompts_alone(predictor: Predictor) -> None:
    bill = billing(predictor).bill(DESIGNS[:1], prompts=[1, 2])
    assert bill.tpots[1] == pytest.approx(predictor.predict(DESIGNS[0], (1, 2)).tpot_s, rel=1e-9)


def test_what_was_not_trained_or_measured_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DesignError, match="no head at depth 3"):
        billing(predictor).bill([Design.of(placement=(3,))])
    few = Predictor.of(synthetic_profile(tmp_path / "p", max_tokens=2))
    with pytest.raises(LatencyError, match="n_tokens"):
        billing(few).bill([Design.of(gamma=0.0, placement=(2,))])
