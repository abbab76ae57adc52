"""Where a design stops paying as a kind of work becomes dearer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adadecode.sim.core.design import Design
from adadecode.sim.limits.break_even import break_even, break_evens
from adadecode.sim.limits.time_breakdown import WORK_KINDS, Billing
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.property_tests import examples
from tests.support.scaled_latency import ScaledLatency
from tests.support.synthetic_profile import synthetic_profile

VANILLA = (10.0, 0.0, 0.0, 1.0, 1.0)
"""Seconds by kind; 12 in all."""


@pytest.mark.parametrize(
    ("kind", "ours", "pays", "factor"),
    [
        (
            "heads",
            (6.0, 2.0, 0.5, 1.0, 1.0),
            "below",
            4.0,
        ),  # 10 besides heads, so that heads may take 2
        ("heads", (6.0, 4.0, 0.5, 1.0, 1.0), "never", None),  # 12 besides heads
        ("heads", (6.0, 2.0, 0.0, 1.0, 1.0), "always", None),  # no head takes any time
        ("heads", (6.0, 5.0, 0.0, 1.0, 1.0), "never", None),
        (
            "layers_one",
            (6.0, 4.0, 1.0, 1.0, 1.0),
            "above",
            1.25,
        ),  # 7 besides against 2, and 4 saved for each time as long
        ("layers_one", (6.0, 0.0, 0.0, 1.0, 1.0), "always", None),
        ("verify", (6.0, 4.0, 0.5, 0.5, 2.0), "above", 3.0),  # 1.5 more besides, and half saved
        (
            "host",
            (6.0, 3.5, 0.5, 0.5, 3.0),
            "below",
            0.25,
        ),  # 0.5 saved besides, and 2 more: it does not pay now
    ],
)
def test_the_factor_is_what_it_is_by_hand(
    kind: str, ours: tuple[float, ...], pays: str, factor: float | None
) -> None:
    found = break_even(ours, VANILLA, kind)
    assert (found.pays, found.factor) == (pays, factor if factor is None else pytest.approx(factor))
    assert (found.seconds, found.vanilla) == (
        ours[list(WORK_KINDS).index(kind)],
        VANILLA[list(WORK_KINDS).index(kind)],
    )


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    path = tmp_path_factory.mktemp("break_even") / "p"
    return Predictor.of(synthetic_profile(path, prompts=4, gates=True))


@given(
    placement=st.sets(st.sampled_from([2, 4, 6]), min_size=1),
    gamma=st.sampled_from([0.1, 0.5, 0.8, 0.95]),
    kind=st.sampled_from(list(WORK_KINDS)),
)
@examples(40)
def test_at_the_factor_the_simulator_predicts_no_speedup(
    predictor: Predictor, placement: set[int], gamma: float, kind: str
) -> None:
    """And below or above it, as it says, one."""
    design = Design.of(gamma=gamma, placement=sorted(placement), gate=0.4)
    replay = CompiledReplay.of(predictor.trace, predictor.model)
    bill = Billing.of(replay, replay.prompts, predictor.latency, 6).bill([design])
    found = next(one for one in break_evens(bill) if one.kind == kind)
    assume(found.factor is not None and found.factor > 1e-6)

    def speedup(factor: float) -> float:
        return (
            Predictor(
                trace=predictor.trace,
                latency=ScaledLatency(table=predictor.latency, factors={kind: factor}),
            )
            .predict(design)
            .speedup
        )

    assert found.factor is not None
    assert speedup(found.factor) == pytest.approx(1.0, abs=1e-9)
    assert (speedup(found.factor * 0.9) > 1) == (found.pays == "below")


def test_kinds_that_nobody_spends_time_on_are_left_out(tmp_path: Path) -> None:
    """Vanilla under another name asks no head and runs no batches."""
    predictor = Predictor.of(synthetic_profile(tmp_path / "p"))
    replay = CompiledReplay.of(predictor.trace)
    bill = Billing.of(replay, replay.prompts, predictor.latency, 6).bill(
        [Design.of(gamma=1.0, placement=(2,))]
    )
    assert [one.kind for one in break_evens(bill)] == ["layers_one", "verify", "host"]


def test_corners_give_the_ends(predictor: Predictor) -> None:
    """Heads half and twice as dear.

    The factor is twice and half; where they never pay, the end is 0.
    """
    replay, design = CompiledReplay.of(predictor.trace), Design.of(gamma=0.8, placement=(2, 6))

    def bill(factor: float):
        return Billing.of(
            replay,
            replay.prompts,
            ScaledLatency(table=predictor.latency, factors={"heads": factor}),
            6,
        ).bill([design])

    middle = next(one for one in break_evens(bill(1.0)) if one.kind == "heads")
    assert middle.factor is not None
    assert (middle.low, middle.high) == (None, None)
    ended = next(
        one for one in break_evens(bill(1.0), [bill(0.5), bill(2.0)]) if one.kind == "heads"
    )
    assert (ended.factor, ended.low, ended.high) == pytest.approx(
        (middle.factor, middle.factor / 2, middle.factor * 2)
    )
    dear = Billing.of(
        replay,
        replay.prompts,
        ScaledLatency(table=predictor.latency, factors={"layers_several": 50.0}),
        6,
    ).bill([design])
    never = next(one for one in break_evens(bill(1.0), [dear, bill(2.0)]) if one.kind == "heads")
    assert (never.low, never.high) == pytest.approx((0.0, middle.factor / 2))
