"""The order in which shortlists take tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.token_ranking import TokenRanking, first_tokens
from tests.support.property_tests import examples


def test_counted_tokens_come_first_and_then_all_others_by_id() -> None:
    assert [first_tokens((4, 1), 6, size) for size in (1, 2, 4, 6, 9)] == [
        (4,),
        (4, 1),
        (4, 1, 0, 2),
        *[(4, 1, 0, 2, 3, 5)] * 2,
    ]


@given(st.lists(st.integers(0, 29), unique=True), st.integers(1, 30))
@examples(50)
def test_a_longer_shortlist_begins_with_the_shorter_one(counted: list[int], size: int) -> None:
    """Each token once, and nothing else than the counted and the lowest other ids."""
    whole = first_tokens(counted, 30, 30)
    assert sorted(whole) == list(range(30))
    assert first_tokens(counted, 30, size) == whole[:size]
    assert list(whole[len(counted) :]) == sorted(whole[len(counted) :])


def test_a_manifest_holds_the_order() -> None:
    """Older ones hold none."""
    ranking = TokenRanking(counted=(4, 1), vocabulary=6, source="texts.txt")
    assert TokenRanking.from_manifest({"ranking": ranking.to_manifest()}) == ranking
    assert TokenRanking.from_manifest({"depths": [4]}) is None
    assert ranking.words == "as counted in texts.txt, then by id, the lowest first"
    assert TokenRanking(counted=(2,), vocabulary=6).words == "by id, the lowest first"
