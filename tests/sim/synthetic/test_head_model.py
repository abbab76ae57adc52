"""What heads say, as a distribution: margins come out as asked, correlations as documented."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import spearmanr

from adadecode.profiles.errors import DesignError
from adadecode.sim.synthetic.head_model import SUREST, Beta, HeadModel, SyntheticError, calibrated

DEPTHS = (4, 8, 20)
AGREEMENT = (0.3, 0.7, 0.95)
RIGHT = (Beta.of(0.6, 4.0), Beta.of(0.8, 1.0), Beta.of(0.9, 20.0))
WRONG = (Beta.of(0.3, 2.0), Beta.of(0.5, 8.0), Beta.of(0.4, 1.0))
SEPARATE = {"along_text": 0.0, "agreement_across": 0.0, "confidence_across": 0.0, "ease": 0.0}
TIED = {"along_text": 0.2, "agreement_across": 0.95, "confidence_across": 0.9, "ease": 0.9}
OUTPUTS = 40_000


def model(**given: Any) -> HeadModel:
    values: dict[str, Any] = {
        "n_layers": 32,
        "depths": DEPTHS,
        "agreement": AGREEMENT,
        "right": RIGHT,
        "wrong": WRONG,
        **given,
    }
    return HeadModel(**values)


def noise(
    seed: int = 1, prompts: int = 1, outputs: int = OUTPUTS, heads: int = 3
) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((prompts, outputs, 2, heads + 1))


def head_outputs(heads: HeadModel, seed: int = 1) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """[outputs, heads + 1] of one long text."""
    scores = heads.along(heads.across(noise(seed)))[0]
    return heads.outputs(scores[:, 0], scores[:, 1])


def correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("ties", [SEPARATE, TIED])
def test_agreement_comes_out_as_asked_whatever_the_correlations(ties: dict[str, float]) -> None:
    right, _ = head_outputs(model(**ties))
    new = (1 - ties["along_text"]) / (
        1 + ties["along_text"]
    )  # share of the outputs that tell something new
    for got, share in zip(right[:, :3].mean(axis=0), AGREEMENT, strict=True):
        assert got == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / (new * OUTPUTS)))


@pytest.mark.parametrize("ties", [SEPARATE, TIED])
def test_confidences_have_the_mean_and_the_spread_that_were_asked_whatever_the_correlations(
    ties: dict[str, float],
) -> None:
    right, confidence = head_outputs(model(**ties))
    for column in range(3):
        for which, beta in ((right[:, column], RIGHT[column]), (~right[:, column], WRONG[column])):
            got, spread = (
                confidence[which, column],
                math.sqrt(beta.mean * (1 - beta.mean) / (1 + beta.concentration)),
            )
            assert got.mean() == pytest.approx(
                beta.mean, abs=4 * spread * math.sqrt(1.5 / len(got))
            )
            assert got.std() == pytest.approx(spread, rel=0.06)


def test_the_last_layer_is_always_right_and_as_sure_as_said() -> None:
    right, confidence = head_outputs(model(last=Beta.of(0.7, 5.0)))
    assert right[:, -1].all()
    assert confidence[:, -1].mean() == pytest.approx(0.7, abs=0.01)


def test_no_head_is_quite_sure() -> None:
    """A gamma just below 1 is a head that is asked and never drafts."""
    _, confidence = head_outputs(model(right=(Beta.of(0.999999, 0.01),) * 3))
    assert confidence.max() == SUREST


def test_scores_of_one_output_and_the_next_are_correlated_as_said() -> None:
    """The same of scores two outputs apart: its square."""
    scores = model(along_text=0.4).along(noise())[0].reshape(OUTPUTS, -1)
    for apart, expected in ((1, 0.4), (2, 0.16), (6, 0.0)):
        got = [correlation(scores[:-apart, k], scores[apart:, k]) for k in range(scores.shape[1])]
        assert got == pytest.approx([expected] * 8, abs=0.025)
    assert scores.std(axis=0) == pytest.approx(1, abs=0.02)


def test_each_text_begins_anew() -> None:
    """Its first scores are neither another text's nor weaker than the rest."""
    scores = model(along_text=0.9).along(noise(prompts=20_000, outputs=2))
    assert scores[:, 0].std(axis=0).ravel() == pytest.approx([1.0] * 8, abs=0.03)
    assert correlation(scores[:-1, 1, 0, 0], scores[1:, 0, 0, 0]) == pytest.approx(0, abs=0.03)


def test_scores_of_heads_are_correlated_by_their_distance() -> None:
    """Of 32 layers, depths 4 and 8 are an eighth apart, half of a quarter.

    The square root; 8 and 20 three eighths; 4 and 20 both.
    """
    scores = model(agreement_across=0.8, confidence_across=0.5).across(noise())[0]
    for row, quarter in enumerate((0.8, 0.5)):
        for one, other, quarters in ((0, 1, 0.5), (1, 2, 1.5), (0, 2, 2.0), (2, 3, 1.5)):
            assert correlation(scores[:, row, one], scores[:, row, other]) == pytest.approx(
                quarter**quarters, abs=0.02
            )
    assert correlation(scores[:, 0, 0], scores[:, 1, 0]) == pytest.approx(0, abs=0.02)


def test_with_full_correlation_a_token_is_right_from_its_earliest_depth_on() -> None:
    right, _ = head_outputs(model(agreement_across=1.0))
    assert (right[:, :-1] <= right[:, 1:]).all()


def test_without_correlation_heads_are_right_by_themselves() -> None:
    right, _ = head_outputs(model(**SEPARATE))
    assert (right[:, 0] & right[:, 1]).mean() == pytest.approx(0.3 * 0.7, abs=0.01)


@pytest.mark.parametrize(("ease", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_confidence_follows_how_easy_a_token_is_as_far_as_said(
    ease: float, expected: float
) -> None:
    """Among the outputs at which a head is right, and among the others."""
    heads = model(ease=ease)
    scores = heads.across(noise())[0]
    right, confidence = heads.outputs(scores[:, 0], scores[:, 1])
    for which in (right[:, 1], ~right[:, 1]):
        assert spearmanr(scores[which, 0, 1], confidence[which, 1]).statistic == pytest.approx(
            expected, abs=0.03
        )


shares, means = st.floats(0, 1), st.floats(1e-6, 1 - 1e-6)
concentrations = st.floats(1e-3, 1e4)


@given(shares, means, concentrations)
@example(1 - 1e-12, 0.9, 5e3)
@example(0.5, 0.99, 1.0)
def test_calibrated_confidences_have_the_asked_mean(
    agreement: float, confidence: float, concentration: float
) -> None:
    """Right ones and wrong ones together; and right ones are never the less sure ones."""
    right, wrong = calibrated(agreement, confidence, concentration)
    assert agreement * right.mean + (1 - agreement) * wrong.mean == pytest.approx(
        confidence, abs=1e-6
    )
    assert right.mean >= wrong.mean - 1e-9


@pytest.mark.parametrize(
    ("agreement", "confidence", "concentration"),
    [(0.7, 0.5, 3.0), (0.5, 0.8, 1.5), (0.95, 0.6, 8.0)],
)
def test_calibrated_heads_are_right_by_a_power_of_their_confidence(
    agreement: float, confidence: float, concentration: float
) -> None:
    """Drawn from the definition.

    C by the Beta, right with probability c^theta, theta told by how much surer the right ones are.
    """
    right, wrong = calibrated(agreement, confidence, concentration)
    random, whole = np.random.default_rng(0), Beta.of(confidence, concentration)
    drawn = random.beta(*whole, 400_000)
    correct = random.random(400_000) < drawn ** (right.a - whole.a)
    assert correct.mean() == pytest.approx(agreement, abs=0.004)
    assert drawn[correct].mean() == pytest.approx(right.mean, abs=0.004)
    assert drawn[~correct].mean() == pytest.approx(wrong.mean, abs=0.004)
    assert drawn[~correct].std() == pytest.approx(
        math.sqrt(wrong.mean * (1 - wrong.mean) / (1 + wrong.concentration)), rel=0.02
    )


def test_a_head_as_sure_as_it_is_right_is_right_as_often_as_it_says() -> None:
    """Then theta is 1.

    And by Bayes' rule right and wrong confidences are Betas with one more on either side.
    """
    right, wrong = calibrated(0.7, 0.7, 4.0)
    assert right == pytest.approx((2.8 + 1, 1.2))
    assert wrong == pytest.approx((2.8, 1.2 + 1))


@pytest.mark.parametrize("agreement", [0.0, 1.0, 1 - 1e-9])
def test_confidence_where_a_head_is_never_right_or_never_wrong_is_that_of_all(
    agreement: float,
) -> None:
    assert calibrated(agreement, 0.8, 3.0) == (Beta.of(0.8, 3.0),) * 2


def test_a_head_far_surer_than_right_is_as_sure_when_it_is_wrong() -> None:
    """Nine outputs in ten at confidence 1 and no others to be wrong at.

    No power of the confidence gives an agreement of a half.
    """
    assert calibrated(0.5, 0.99, 1.0) == (Beta.of(0.99, 1.0),) * 2


@pytest.mark.parametrize(
    ("mean", "concentration", "message"),
    [
        (0.0, 3.0, "a mean confidence lies between 0 and 1, got 0: give one like 0.8"),
        (1.0, 3.0, "a mean confidence lies between 0 and 1, got 1"),
        (math.nan, 3.0, "a mean confidence lies between 0 and 1, got nan"),
        (0.5, 0.0, "a concentration is a number above 0, got 0"),
        (0.5, math.inf, "a concentration is a number above 0, got inf"),
    ],
)
def test_a_distribution_that_is_none_is_refused(
    mean: float, concentration: float, message: str
) -> None:
    with pytest.raises(SyntheticError, match=message):
        Beta.of(mean, concentration)


def test_heads_are_calibrated_where_no_confidence_is_given() -> None:
    heads = HeadModel.of(32, DEPTHS, AGREEMENT, concentration=2.0)
    assert list(zip(heads.right, heads.wrong, strict=True)) == [
        calibrated(share, share, 2.0) for share in AGREEMENT
    ]


def test_a_head_that_is_always_right_is_next_to_sure_where_no_confidence_is_given() -> None:
    heads = HeadModel.of(32, (4, 8), (0.0, 1.0))
    assert [beta.mean for beta in heads.right] == pytest.approx([0.0, 1.0], abs=1e-5)


def test_each_head_may_have_its_own_concentration() -> None:
    heads = HeadModel.of(32, DEPTHS, AGREEMENT, (0.5, 0.6, 0.7), (1.0, 2.0, 3.0), {"ease": 0.25})
    assert heads.right[2] == calibrated(0.95, 0.7, 3.0)[0]
    assert (heads.ease, heads.along_text) == (0.25, HeadModel.along_text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depths": (8, 4, 20)}, r"wanted rising depths of heads within 1\.\.31, got \[8, 4, 20\]"),
        ({"depths": (4, 4, 20)}, "wanted rising depths"),
        ({"depths": (0, 4, 20)}, "wanted rising depths"),
        ({"depths": (4, 8, 32)}, "wanted rising depths"),
        (
            {"depths": (), "agreement": (), "right": (), "wrong": ()},
            r"wanted rising depths of heads within 1\.\.31, got \[\]",
        ),
        (
            {"agreement": (0.5, 0.6)},
            r"wanted 3 values of agreement, one for each of the depths \[4, 8, 20\], got 2",
        ),
        ({"right": RIGHT[:1]}, "wanted 3 values of right"),
        ({"agreement": (0.5, 0.6, 1.1)}, r"an agreement is a share in 0\.\.1, got 1\.1"),
        ({"agreement": (0.5, math.nan, 0.9)}, r"an agreement is a share in 0\.\.1, got nan"),
        ({"ease": 1.5}, r"ease is a correlation in 0\.\.1, got 1\.5"),
        ({"agreement_across": -0.1}, r"agreement_across is a correlation in 0\.\.1, got -0\.1"),
        ({"along_text": 1.0}, r"along_text is a correlation in 0\.\.1 and below 1, got 1"),
    ],
)
def test_heads_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SyntheticError, match=message):
        model(**wrong)


def test_an_agreement_that_is_none_is_refused_by_its_name() -> None:
    """Not as the confidence that would be taken from it."""
    with pytest.raises(
        SyntheticError,
        match=r"an agreement is a share in 0\.\.1, got 50: 0\.9 for nine outputs in ten",
    ):
        HeadModel.of(32, (4,), (50,))


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(
        SyntheticError,
        match=r"for each of the depths \[4, 8\], got 2, 2 and 3: give as many of each",
    ):
        HeadModel.of(32, (4, 8), (0.5, 0.6), None, (1.0, 2.0, 3.0))


def test_a_shift_makes_every_token_easier_and_leaves_confidences() -> None:
    """What was right stays right, on the same scores."""
    heads = model()
    easier = heads.shifted(0.5)
    assert easier.agreement == pytest.approx(
        [float(ndtr(ndtri(share) + 0.5)) for share in AGREEMENT]
    )
    assert (easier.right, easier.wrong) == (heads.right, heads.wrong)
    assert easier.shifted(-0.5).agreement == pytest.approx(AGREEMENT)
    assert (head_outputs(heads)[0] <= head_outputs(easier)[0]).all()


def test_heads_left_out_do_not_change_the_others() -> None:
    """Neither their shares and confidences nor how far they are right together."""
    heads = model(agreement_across=0.8)
    fewer = heads.only((20, 4))
    assert (fewer.depths, fewer.agreement, fewer.right, fewer.wrong) == (
        (4, 20),
        (0.3, 0.95),
        (RIGHT[0], RIGHT[2]),
        (WRONG[0], WRONG[2]),
    )
    scores = fewer.across(noise(heads=2))[0]
    assert correlation(scores[:, 0, 0], scores[:, 0, 1]) == pytest.approx(0.8**2, abs=0.02)


def test_a_head_that_is_not_there_cannot_be_kept() -> None:
    with pytest.raises(DesignError, match=r"no head at depth 5 \(trained: 4, 8, 20\)"):
        model().only((4, 5))


def test_heads_can_be_written_as_json_and_made_again() -> None:
    document = json.loads(json.dumps(model(ease=0.3).to_dict()))
    again = {name: tuple(Beta(*beta) for beta in document.pop(name)) for name in ("right", "wrong")}
    again |= {
        "last": Beta(*document.pop("last")),
        "depths": tuple(document.pop("depths")),
        "agreement": tuple(document.pop("agreement")),
    }
    assert HeadModel(**document, **again) == model(ease=0.3)
