"""Recorded texts whose heads are wrong more or less often."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles import LatencyTable, Profile, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.limits.perturbation import (
    agreement,
    used_depths,
    with_silent_heads,
    with_wrong_heads,
)
from adadecode.sim.limits.time_breakdown import Billing
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.synthetic_profile import EOS, synthetic_profile

DESIGNS = (
    Design.of(gamma=0.5, placement=(2, 4)),
    Design.of(gamma=0.1, placement=(2, 4, 6), cap=3),
    Design.of("fixed", placement=(4,), cap=2),
    Design.of("oracle", placement=(2, 6)),
)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("mistakes") / "p", prompts=4)


@pytest.fixture(scope="module")
def replay(profile: Profile) -> CompiledReplay:
    return CompiledReplay.of(Trace.from_profile(profile))


def as_trace(profile: Profile, replay: CompiledReplay) -> Trace:
    """The trace that such a replay replays.

    The recorded one with the replay's tokens and confidences.
    """
    rows = profile.trace.sort_values(["prompt", "output", "depth"], ignore_index=True)
    spoken = np.ones(replay.token.shape[1], dtype=bool)
    spoken[replay.first[:-1]] = False
    tokens = replay.token[:, spoken].T
    changed = rows.assign(
        token=tokens.ravel(),
        agrees=(tokens == tokens[:, -1:]).ravel(),
        confidence=replay.confidence[:, spoken].T.ravel(),
    )
    return Trace.from_frames(
        profile.prompts,
        changed,
        profile.branches,
        n_layers=profile.n_layers,
        depths=profile.depths,
        eos={EOS},
    )


@pytest.mark.parametrize(("wrong", "right"), [(0.3, 0.0), (0.0, 0.5), (1.0, 0.0), (0.2, 0.2)])
def test_it_is_what_the_simulator_makes_of_such_a_trace(
    profile: Profile, replay: CompiledReplay, wrong: float, right: float
) -> None:
    """Work for work: the same seconds, with the branches recorded before to draw from."""
    other = with_wrong_heads(replay, wrong, right, seed=3)
    predictor = Predictor(
        trace=as_trace(profile, other),
        latency=LatencyTable.from_samples(profile.latency, profile.n_layers),
    )
    bill = Billing.of(replay, replay.prompts, predictor.latency, 6).bill(DESIGNS, replay=other)
    for design, tpot in zip(DESIGNS, bill.tpots[1:], strict=True):
        assert tpot == pytest.approx(predictor.predict(design).tpot_s, rel=1e-9), design.label


def test_without_a_share_nothing_changes(replay: CompiledReplay) -> None:
    other = with_wrong_heads(replay)
    assert (other.token == replay.token).all()
    assert (other.ends == replay.ends).all()
    assert (other.tree.roots == replay.tree.roots).all()


def test_shares_are_of_the_right_and_of_the_wrong_answers(replay: CompiledReplay) -> None:
    """Each head its own share; the text stays."""
    before = agreement(replay, replay.prompts)
    less, more = (
        agreement(with_wrong_heads(replay, wrong=np.array([0.0, 0.5, 1.0])), replay.prompts),
        agreement(with_wrong_heads(replay, right=1.0), replay.prompts),
    )
    assert less[0] == before[0]
    assert less[1] == pytest.approx(before[1] / 2, abs=0.15)
    assert less[2] == 0
    assert (more == 1).all()
    assert (with_wrong_heads(replay, wrong=0.5).token[-1] == replay.token[-1]).all()


def test_a_larger_share_holds_every_mistake_of_a_smaller_one(replay: CompiledReplay) -> None:
    few, many = (
        with_wrong_heads(replay, wrong=share, seed=1).token != replay.token for share in (0.2, 0.4)
    )
    assert 0 < few.sum() < many.sum()
    assert (many | ~few).all()


def test_where_every_answer_is_wrong_no_draft_is_accepted(replay: CompiledReplay) -> None:
    """Each round gives one token."""
    work = with_wrong_heads(replay, wrong=1.0).count(DESIGNS[:3])
    assert (work.tally("accepted") == 0).all()
    assert (work.tally("drafts") > 0).all()
    assert (work.tally("rounds") == work.tally("tokens") - len(replay.prompts)).all()


def test_silent_heads_are_all_asked_and_never_draft(
    profile: Profile, replay: CompiledReplay
) -> None:
    """At every token but the last, with which nothing could be gained."""
    work = with_silent_heads(replay).count(DESIGNS[:2])
    assert work.tally("drafts").tolist() == [0, 0]
    predictor = Predictor(
        trace=as_trace(profile, with_silent_heads(replay)),
        latency=LatencyTable.from_samples(profile.latency, profile.n_layers),
    )
    assert work.tally("tested").tolist() == [
        predictor.predict(design).tested for design in DESIGNS[:2]
    ]


def test_agreement_is_the_traces(profile: Profile, replay: CompiledReplay) -> None:
    """It is taken over several prompts together."""
    rows: pd.DataFrame = profile.trace[
        profile.trace["prompt"].isin([1, 2]) & (profile.trace["depth"] < profile.n_layers)
    ]
    assert agreement(replay, [1, 2]).tolist() == pytest.approx(
        rows.groupby("depth")["agrees"].mean().tolist()
    )


def test_a_head_with_gamma_one_is_never_asked() -> None:
    assert used_depths(Design.of(gamma=(0.5, 1.0), placement=(2, 4)), 8) == (2,)
