"""Predictions: every figure by hand on one small text, and the choice of prompts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from adadecode.profiles import Profile
from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.prediction.predictor import Predictor, predict
from tests.support.handmade import ConstantLatency, one_text, recorded_profile
from tests.support.synthetic_profile import synthetic_profile

TEXT = [10, 11, 12, 13, 14, 15]
# Outputs 1 and 2 are drafted right, output 3 wrong: round 1 takes three drafts, and its fourth
# token is tested and runs on.
SAID = {(1, 1): (0.9, 11), (2, 1): (0.9, 12), (3, 1): (0.9, 7)}
OFF = {(3, (7,), depth): (0.1, 8) for depth in (1, 2)}
ONE_HEAD = Design.of("adadecode", gamma=0.5, placement=(1,))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("predict") / "profile")


def predictor() -> Predictor:
    return Predictor(trace=one_text(TEXT, SAID, OFF), latency=ConstantLatency())


def test_rates_are_the_papers() -> None:
    """Round 1 as above, then outputs 4 and 5 one by one, the last untested.

    3 drafts of 5 tested positions, 1 of 3 discarded, 5 tokens in 3 rounds.
    """
    prediction = predictor().predict(ONE_HEAD)
    assert (prediction.drafts, prediction.tested, prediction.accepted, prediction.rounds) == (
        3,
        5,
        2,
        3,
    )
    assert (prediction.early_rate, prediction.reject_rate, prediction.tokens_per_round) == (
        3 / 5,
        1 / 3,
        5 / 3,
    )


def test_a_position_tested_by_two_heads_counts_once() -> None:
    """Figure 2: three positions tested, by five checks."""
    trace = one_text([10, 11, 12, 13], {(1, 2): (0.9, 11), (2, 1): (0.9, 12)}, eos=frozenset({13}))
    prediction = Predictor(trace=trace, latency=ConstantLatency()).predict(
        Design.of("adadecode", gamma=0.5, placement=(1, 2))
    )
    assert (prediction.tested, prediction.checks) == (3, 5)


def test_time_per_token_leaves_the_first_out() -> None:
    """Vanilla: 3.75 s for each of the 5 tokens that follow the prefill's."""
    prediction = predictor().predict(Design.of("vanilla"))
    assert (prediction.tpot_s, prediction.decode_s, prediction.tokens) == (3.75, 18.75, 6)
    assert prediction.tokens_per_s == 1 / 3.75


def test_speedup_is_over_vanilla_on_the_same_prompts() -> None:
    """Round 1.

    Layer 1 and a check four times, layers 2-3, verify. Then twice a token through both segments,
    the last without a check.
    """
    seconds = 4 * (1.1875 + 0.3125) + 2.0625 + 0.5625 + 2 * (1.1875 + 2.0625 + 0.5625) + 0.3125
    prediction = predictor().predict(ONE_HEAD)
    assert prediction.decode_s == seconds
    assert math.isclose(prediction.speedup, 18.75 / seconds)


def test_vanillas_speedup_is_one() -> None:
    assert predictor().predict(Design.of("vanilla")).speedup == 1


def test_time_to_first_token_is_the_prefill() -> None:
    """Four prompt tokens at 2 s."""
    assert predictor().predict(ONE_HEAD).ttft_s == 8


def test_recorded_branches_leave_nothing_modelled() -> None:
    """The wrong draft's branch was recorded; without the recording, round 1 is modelled."""
    assert predictor().predict(ONE_HEAD).modelled_share == 0
    bare = Predictor(trace=one_text(TEXT, SAID), latency=ConstantLatency()).predict(ONE_HEAD)
    assert 0 < bare.modelled_share < 1


def test_a_prediction_tells_the_error_to_expect(tmp_path: Path) -> None:
    """Its modelled share times the error per share of this profile; none of no share."""
    one = Predictor.of(recorded_profile(tmp_path / "profile"))
    prediction, per_share = (
        one.predict(Design.of("adadecode", gamma=0.1, placement=(2, 4, 6))),
        one.branch_errors.per_share(Policy.ADADECODE),
    )
    assert per_share is not None
    assert per_share > 0
    assert prediction.modelled_share > 0
    assert prediction.modelled_error == prediction.modelled_share * per_share
    assert one.predict(Design.of("vanilla")).modelled_error == 0


def test_without_branches_the_error_is_unknown(tmp_path: Path) -> None:
    """Something is modelled, and nothing recorded tells how well.

    Unverified designs never go where anything was recorded.
    """
    bare = Predictor.of(recorded_profile(tmp_path / "profile", branches=False))
    assert bare.predict(ONE_OF_EIGHT).modelled_error is None
    unverified = Design.of("adadecode", gamma=0.2, placement=(4,), verify=False)
    assert (
        Predictor.of(recorded_profile(tmp_path / "other")).predict(unverified).modelled_error
        is None
    )


def test_the_error_is_measured_only_where_something_is_modelled(tmp_path: Path) -> None:
    """It takes a replay of the measured designs."""
    one = Predictor.of(recorded_profile(tmp_path / "profile"))
    assert one.predict(Design.of("vanilla")).modelled_share == 0
    assert "branch_errors" not in vars(one)


def test_texts_that_differ_are_counted() -> None:
    """Without verification the wrong draft stays."""
    assert (
        predictor()
        .predict(Design.of("adadecode", gamma=0.5, placement=(1,), verify=False))
        .texts_differ
        == 1
    )
    assert predictor().predict(ONE_HEAD).texts_differ == 0


def test_a_domain_chooses_its_prompts(profile: Profile) -> None:
    """Domains alternate over three prompts."""
    assert [
        predict(profile, ONE_OF_EIGHT, [domain]).prompts for domain in ("arithmetic", "code")
    ] == [2, 1]
    assert predict(profile, ONE_OF_EIGHT).prompts == 3


ONE_OF_EIGHT = Design.of("adadecode", gamma=0.7, placement=(4,))


def test_an_unknown_domain_is_refused(profile: Profile) -> None:
    """The error lists those there are."""
    with pytest.raises(
        ProfileError,
        match=r"no prompt of the domain 'poetry' in the profile: it holds arithmetic, code",
    ):
        predict(profile, ONE_OF_EIGHT, ["poetry"])


def test_texts_of_one_token_predict_nothing() -> None:
    """There is no time per token to tell."""
    with pytest.raises(ProfileError, match="nothing to predict"):
        Predictor(trace=one_text([10]), latency=ConstantLatency()).predict(ONE_HEAD)


def test_a_prediction_is_json(profile: Profile) -> None:
    """Every field, the design by its label and parts."""
    document = json.loads(json.dumps(predict(profile, ONE_OF_EIGHT).to_dict(), allow_nan=False))
    assert document["design"] == {
        "label": "adadecode 4 gamma 0.7",
        "policy": "adadecode",
        "placement": [4],
        "gammas": [0.7],
        "cap": 5,
        "verify": True,
    }
    assert document["tpot_s"] > 0


def test_a_prediction_is_the_same_every_time(tmp_path: Path) -> None:
    """Drawn branches are the same too."""
    documents = [
        predict(synthetic_profile(tmp_path / str(i), branches=False), ONE_OF_EIGHT).to_dict()
        for i in (1, 2)
    ]
    assert documents[0] == documents[1]
    assert documents[0]["modelled_share"] > 0
