"""Recorded texts for requests of any length."""

from __future__ import annotations

import zlib
from dataclasses import replace
from itertools import pairwise

import pytest

from adadecode.profiles.errors import DesignError, ProfileError
from adadecode.profiles.hashing import dice
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.serving.exits.texts import Texts
from tests.support.serving import request
from tests.support.synthetic_profile import synthetic_profile

LONG = 200
NAMES = [str(one) for one in range(60)]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("texts") / "p", prompts=3, outputs=24)


def test_short_answers_are_recorded_texts_and_the_seed_draws_them(profile: Profile) -> None:
    texts = Texts.of(profile, LONG)
    drawn = [texts.text_of(request(name, n_output=10)) for name in NAMES]
    assert set(drawn) == {0, 1, 2}
    assert drawn == [texts.text_of(request(name, n_output=20)) for name in NAMES]
    other = Texts.of(profile, LONG, seed=1)
    assert drawn != [other.text_of(request(name, n_output=10)) for name in NAMES]


def test_texts_are_drawn_by_the_seed_of_the_requests_too(profile: Profile) -> None:
    """By hand: a third of all numbers of 32 bits is a text, as there are three."""
    texts = Texts.of(profile, 10, seed=7)
    assert texts.drawn(None) is texts
    for seed in (0, 5):
        drawn = texts.drawn(seed)
        for name in NAMES[:9]:
            number = dice(dice(7, seed), zlib.crc32(name.encode()))
            assert drawn.text_of(request(name, n_output=10)) == number * 3 // 2**32


def test_longer_answers_join_recorded_texts_without_their_ends(profile: Profile) -> None:
    texts, own = Texts.of(profile, LONG), Trace.from_profile(profile)
    assert texts.joined == (3, 4, 5)
    rows = {
        tuple(own.head(prompt, output, depth) for depth in (2, 4, 6, 8))
        for prompt in own.prompts
        for output in range(1, own.n_output(prompt))
    }
    for number in texts.joined:
        text = texts.trace
        assert text.n_output(number) == LONG
        assert text.first_token(number) == own.first_token(number - 3)
        said = [
            tuple(text.head(number, output, depth) for depth in (2, 4, 6, 8))
            for output in range(1, LONG)
        ]
        assert set(said) <= rows
        finals = [text.final(number, output) for output in range(LONG)]
        assert not own.eos & set(finals)
        begun = own.n_output(number - 3) - own.ended(number - 3)
        assert finals[:begun] == [own.final(number - 3, output) for output in range(begun)]
    again = Texts.of(profile, LONG)
    assert [again.trace.final(4, one) for one in range(LONG)] == [
        texts.trace.final(4, one) for one in range(LONG)
    ]


def test_each_text_that_goes_on_begins_with_its_second_token(profile: Profile) -> None:
    """It gives its tokens in their order, all of them but an end, and only the last is cut."""
    texts, own = Texts.of(profile, LONG), Trace.from_profile(profile)
    depths = (2, 4, 6, 8)
    place = {
        tuple(own.head(prompt, output, depth) for depth in depths): (prompt, output)
        for prompt in own.prompts
        for output in range(1, own.n_output(prompt))
    }
    assert len(place) == 19 + 23 + 23
    for number in texts.joined:
        said = [
            place[tuple(texts.trace.head(number, output, depth) for depth in depths)]
            for output in range(1, LONG)
        ]
        for (prompt, output), (then, begun) in pairwise(said):
            whole = own.n_output(prompt) - 1 - own.ended(prompt)
            assert (then, begun) == (prompt, output + 1) if output < whole else begun == 1


def test_branches_of_joined_texts_are_those_that_were_recorded(profile: Profile) -> None:
    texts, own = Texts.of(profile, LONG), Trace.from_profile(profile)
    begun = own.n_output(1) - 1
    known = {
        (output, path): heads
        for (prompt, output, path), heads in own.branches().items()
        if prompt == 1 and output <= begun
    }
    found = {
        (output, path): heads
        for (prompt, output, path), heads in texts.trace.branches().items()
        if prompt == 4 and output <= begun
    }
    assert known
    assert found == known
    # What stands in elsewhere is drawn from the recorded ones, as if there were no joined texts.
    assert texts.model.branch(0, 1, (99,)) == Texts.of(profile, 5).model.branch(0, 1, (99,))


def test_a_text_that_is_taken_whole_has_its_own_budget(profile: Profile) -> None:
    texts = Texts.of(profile, LONG)
    ended = next(name for name in NAMES if texts.text_of(request(name, n_output=9)) == 0)
    whole = texts.schedule(request(ended, n_output=20), Design.of("vanilla"))
    assert whole.max_new_tokens == 24
    part = texts.schedule(request(ended, n_output=19), Design.of("vanilla"))
    assert part.max_new_tokens == 19


def test_texts_that_do_not_fit_are_refused(profile: Profile) -> None:
    with pytest.raises(DesignError, match="--map"):
        Texts.of(profile, 5, n_layers=12)
    moved = Texts.of(profile, LONG, heads_at={2: 3, 6: 9}, n_layers=12)
    assert moved.trace.depths == (3, 9)
    with pytest.raises(ProfileError, match="--trace"):
        Texts.of(replace(profile, prompts=profile.prompts.iloc[:0]), 5)
