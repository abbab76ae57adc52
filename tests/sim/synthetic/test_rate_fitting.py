"""Models of the heads found from rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy.special import ndtri

from adadecode.sim.core.design import Design
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError, calibrated
from adadecode.sim.synthetic.rate_fitting import RateFit, Target, evaluated, fit_rates
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike, synthetic_trace

DEPTHS = (4, 8, 12)
TRUE = HeadModel.of(16, DEPTHS, (0.6, 0.8, 0.92), (0.45, 0.6, 0.8), 2.0)
KNOWN: Mapping[str, Any] = {"confidence": [0.45, 0.6, 0.8], "concentration": 2.0}
GAMMAS = (0.2, 0.5, 0.8)
LATENCY = uniform_latencies(16, DEPTHS, head=0.5, max_tokens=6, max_context=640)
TEXTS = alike(4, n_prompt=8, n_output=256)
FEW = alike(2, n_prompt=8, n_output=256)


def rates(
    model: HeadModel,
    prompts: Sequence[SyntheticPrompt],
    *,
    seed: int,
    gammas: Sequence[float] = GAMMAS,
) -> list[Target]:
    """What a model shows of itself, speedups included."""
    designs = [Design.of(gamma=gamma, placement=DEPTHS) for gamma in gammas]
    rows = evaluated(synthetic_trace({"synthetic": model}, prompts, seed=seed), LATENCY, designs)
    return [
        Target(gamma, row["early_rate"], row["reject_rate"], row["speedup"])
        for gamma, row in zip(gammas, rows.to_dict("records"), strict=True)
    ]


def without_speedups(targets: Sequence[Target]) -> list[Target]:
    return [one._replace(speedup=None) for one in targets]


def fit(
    targets: Sequence[Target], prompts: Sequence[SyntheticPrompt] = FEW, **given: Any
) -> RateFit:
    return fit_rates(targets, **{"n_layers": 16, "depths": DEPTHS, "prompts": prompts, **given})


@pytest.fixture(scope="module")
def elsewhere() -> list[Target]:
    """Of more text, on other random numbers than any fit's."""
    return without_speedups(rates(TRUE, alike(16, n_prompt=8), seed=9))


@pytest.fixture(scope="module")
def found(elsewhere: list[Target]) -> RateFit:
    """Fit five numbers, as by default."""
    return fit(elsewhere, TEXTS)


@pytest.fixture(scope="module")
def single(elsewhere: list[Target]) -> RateFit:
    """Fit one number."""
    return fit(elsewhere, free={"agreement": 1}, fixed=KNOWN)


def test_rates_of_a_known_model_are_met(found: RateFit, elsewhere: list[Target]) -> None:
    """To some two standard errors of a thousand outputs."""
    assert found.largest < 0.03
    early = found.rows.query("what == 'early'")
    assert early["asked"].tolist() == [one.early for one in elsewhere]
    assert (early["got"] - early["asked"]).tolist() == pytest.approx(early["residual"].tolist())


def test_a_fit_predicts_the_rates_at_a_gamma_that_it_did_not_see(found: RateFit) -> None:
    (true,), (got,) = (
        rates(model, alike(8, n_prompt=8), seed=10, gammas=(0.65,)) for model in (TRUE, found.model)
    )
    assert got[1:3] == pytest.approx(true[1:3], abs=0.04)


def test_two_numbers_are_a_straight_line_in_the_depth(found: RateFit) -> None:
    """As normal scores; the middle head stands half way between the others."""
    low, middle, high = ndtri(found.model.agreement)
    assert low < middle < high
    assert middle == pytest.approx((low + high) / 2)


def test_one_number_stands_for_all_heads(single: RateFit) -> None:
    assert len(set(single.model.agreement)) == 1


def test_the_same_fit_is_found_again(single: RateFit, elsewhere: list[Target]) -> None:
    assert fit(elsewhere, free={"agreement": 1}, fixed=KNOWN).model == single.model


def test_agreements_are_recovered_where_all_else_is_known() -> None:
    """On the same draws. Of the deepest head, which few tokens reach, rates say least."""
    got = fit(
        without_speedups(rates(TRUE, TEXTS, seed=0)), TEXTS, free={"agreement": 3}, fixed=KNOWN
    ).model
    assert got.agreement[:2] == pytest.approx(TRUE.agreement[:2], abs=0.05)
    assert got.agreement[2] == pytest.approx(TRUE.agreement[2], abs=0.08)
    assert got.right == tuple(
        calibrated(*each, 2.0)[0] for each in zip(got.agreement, KNOWN["confidence"], strict=True)
    )


def test_a_correlation_can_be_fitted() -> None:
    """Drafts of heads that are right by turns are rejected less often."""
    apart = replace(TRUE, agreement_across=0.2)
    fixed = {**KNOWN, "agreement": list(TRUE.agreement)}
    got = fit(
        without_speedups(rates(apart, TEXTS, seed=0)),
        TEXTS,
        free={"agreement_across": 1},
        fixed=fixed,
    ).model
    assert got.agreement_across == pytest.approx(0.2, abs=0.15)


def test_nothing_free_tells_how_far_a_model_is_off(elsewhere: list[Target]) -> None:
    got = fit(elsewhere, free={}, fixed={**KNOWN, "agreement": [0.9, 0.9, 0.9]})
    assert got.model.agreement == (0.9, 0.9, 0.9)
    assert got.n_free == 0
    assert got.largest > 0.1


def test_speedups_count_as_relative_errors() -> None:
    """Fitted to a speedup alone: one number, one figure, met."""
    (true,) = rates(TRUE, FEW, seed=0, gammas=(0.5,))
    got = fit(
        [Target(0.5, speedup=true.speedup)], free={"agreement": 1}, fixed=KNOWN, latency=LATENCY
    )
    (row,) = got.rows.to_dict("records")
    assert (row["what"], row["asked"]) == ("speedup", true.speedup)
    assert row["residual"] == pytest.approx(row["got"] / row["asked"] - 1)
    assert abs(row["residual"]) < 0.02
    assert got.largest == 0


def test_a_weight_decides_between_rates_and_speedups() -> None:
    """Asked for the rates of a model and twice its speedup, the fit gives up what weighs less."""
    wanted = [one._replace(speedup=2.0 * (one.speedup or 0.0)) for one in rates(TRUE, FEW, seed=0)]
    how: dict[str, Any] = {"free": {"agreement": 1}, "fixed": KNOWN, "latency": LATENCY}
    light, heavy = (fit(wanted, speedup_weight=weight, **how) for weight in (1e-6, 1.0))
    assert light.largest < heavy.largest
    assert (
        heavy.rows.query("what == 'speedup'")["got"].mean()
        > light.rows.query("what == 'speedup'")["got"].mean()
    )


def test_what_no_model_could_miss_does_not_count() -> None:
    """Everything is drafted at gamma 0, and nothing at gamma 1."""
    targets = [Target(0.0, 1.0, 0.5), Target(0.5, 0.9), Target(1.0, 0.0, 0.0)]
    got = fit(targets, free={}, fixed={"agreement": [0.5] * 3})
    assert got.informative == 2
    assert got.rows["informative"].tolist() == [False, True, True, False, False]


def test_more_numbers_than_figures_are_refused() -> None:
    with pytest.raises(
        SyntheticError,
        match=r"5 numbers \(agreement, confidence, concentration\) cannot be fitted to 4 figures",
    ):
        fit([Target(0.0, 1.0, 0.6), Target(0.5, 0.9, 0.3), Target(0.8, 0.5), Target(1.0, 0.0, 0.0)])


@pytest.mark.parametrize(
    ("targets", "given", "message"),
    [
        ([Target(1.5, 0.5)], {}, r"gamma is a probability in 0\.\.1, got 1\.5"),
        ([Target(math.nan, 0.5)], {}, r"gamma is a probability in 0\.\.1, got nan"),
        (
            [Target(0.5, 93.0)],
            {},
            r"a rate is a share in 0\.\.1, got 93 \(early at gamma 0\.5\): 0\.24 for 24 %",
        ),
        (
            [Target(0.5, None, -0.1)],
            {},
            r"a rate is a share in 0\.\.1, got -0\.1 \(rejected at gamma 0\.5\)",
        ),
        ([Target(0.5, 0.9), Target(0.5, 0.8)], {}, "wanted each gamma once among the rates"),
        ([Target(0.5)], {}, "wanted a rate or more to fit heads to, got none"),
        ([], {}, "wanted a rate or more to fit heads to, got none"),
        (
            [Target(0.5, 0.9, 0.1, 1.5)],
            {},
            r"a speedup is above 0 and needs latencies to be fitted to, got 1\.5",
        ),
        (
            [Target(0.5, 0.9, 0.1, 0.0)],
            {"latency": LATENCY},
            "a speedup is above 0 and needs latencies to be fitted to, got 0",
        ),
        (
            [Target(0.5, 0.9)],
            {"depths": ()},
            r"wanted rising depths of heads within 1\.\.15, got \[\]",
        ),
        (
            [Target(0.5, 0.9)],
            {"depths": (4, 16)},
            r"wanted rising depths of heads within 1\.\.15, got \[4, 16\]",
        ),
        ([Target(0.5, 0.9)], {"n_layers": 0, "depths": (1,)}, "wanted rising depths"),
        ([Target(0.5, 0.9)], {"free": {"agreement": 4}}, "cannot fit 4 numbers of 'agreement'"),
        (
            [Target(0.5, 0.9)],
            {"free": {"agreement": 1, "ease": 2}},
            "cannot fit 2 numbers of 'ease'",
        ),
        (
            [Target(0.5, 0.9)],
            {"free": {"luck": 1}},
            "cannot fit 1 numbers of 'luck': known are agreement, confidence",
        ),
        (
            [Target(0.5, 0.9)],
            {"free": {"agreement": 1}, "fixed": {"agreement": [0.5]}},
            "agreement is given and to be fitted",
        ),
        (
            [Target(0.5, 0.9)],
            {"free": {"confidence": 1}},
            "wanted the agreement by depth, or agreement among what is fitted",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    targets: list[Target], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(SyntheticError, match=message):
        fit(targets, **given)


def test_a_fit_tells_how_much_it_proves(found: RateFit) -> None:
    assert str(found).startswith(
        "5 numbers fitted to 6 figures that could be missed: agreement (2), confidence (2), "
        "concentration (1); rates within 0.0"
    )
