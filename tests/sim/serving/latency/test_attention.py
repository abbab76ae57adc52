"""Attention between, beside and beyond the points of a table."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.latency.attention_law import AttentionLaw
from adadecode.sim.serving.latency.attention_times import SIZES, AttentionTimes, one_chunk
from adadecode.sim.serving.latency.unequal_contexts import Contexts, UnequalContexts
from adadecode.sim.serving.scheduling.step import Chunk

LAW = AttentionLaw(
    start=6e-6, position=3e-8, work=(1e-9, 4e-8, 1.3e-10, 1.4e-6, 9e-9), sharpness=2.0
)
"""Like an RTX 4090's."""

AXES = {
    "chunk": (0, 16, 64, 256, 1024), "cached": (0, 128, 1024, 8192), "n_decode": (0, 1, 8, 64),
    "context": (16, 256, 2048, 16384),
}  # fmt: skip


def table(keep: float = 1.0) -> pd.DataFrame:
    """Return a table that the law holds for, with a share of its mixed steps."""
    rows = [
        (chunk, cached if chunk else 0, count, context if count else 0)
        for chunk, cached, count, context in product(*AXES.values())
        if chunk or count
    ]
    found = pd.DataFrame(sorted(set(rows)), columns=SIZES)
    mixed = ((found["chunk"] > 0) & (found["n_decode"] > 0)).to_numpy()
    drawn = np.random.default_rng(0).random(len(found)) < keep
    found = found[~mixed | drawn].reset_index(drop=True)
    return found.assign(seconds=LAW.many(found.to_numpy(dtype=np.float64)))


FULL, SPARSE = AttentionTimes.of(table()), AttentionTimes.of(table(0.05))


def test_measured_points_are_given_exactly() -> None:
    rows = table().assign(seconds=lambda one: one["seconds"] * np.linspace(0.7, 1.4, len(one)))
    times = AttentionTimes.of(rows)
    for row in rows.sample(200, random_state=1).itertuples(index=False):
        found = times.at(row.chunk, row.cached, row.n_decode, row.context)
        assert found == pytest.approx(row.seconds, rel=1e-9)


@given(st.integers(0, 2000), st.integers(0, 16000), st.integers(0, 128), st.integers(1, 30000))
def test_where_the_law_holds_it_is_found_between_and_beyond(
    chunk: int, cached: int, count: int, context: int
) -> None:
    if not (chunk or count):
        return
    sizes = (chunk, cached if chunk else 0, count, context if count else 0)
    truth = LAW.at(*sizes)
    for times in (FULL, SPARSE):
        assert times.at(*sizes) == pytest.approx(truth, rel=0.08)


def test_the_law_of_one_point_is_that_of_several() -> None:
    sizes = table()[SIZES].to_numpy(dtype=np.float64)
    many = LAW.many(sizes)
    assert many == pytest.approx([LAW.at(*one) for one in sizes], rel=1e-12)


def test_a_step_that_was_not_measured_mixed_is_the_sum_of_its_parts() -> None:
    times = AttentionTimes.of(table(0.0))
    whole = times.at(64, 128, 8, 256)
    assert whole == times.at(64, 128, 0, 0) + times.at(0, 0, 8, 256)


@pytest.mark.parametrize(("name", "words"), [("chunk", "chunks"), ("n_decode", "sequences")])
def test_a_table_without_its_parts_is_refused(name: str, words: str) -> None:
    rows = table()
    with pytest.raises(LatencyError, match=f"attention of {words}"):
        AttentionTimes.of(rows[rows[name] == 0])


def test_several_chunks_count_as_one_with_their_tokens_and_pairs() -> None:
    assert one_chunk([]) == (0.0, 0.0)
    assert one_chunk([Chunk(10, 5)]) == (10.0, 5.0)
    tokens, cached = one_chunk([Chunk(100, 1000), Chunk(50, 0)])
    assert tokens == 150
    assert tokens * (cached + tokens / 2) == pytest.approx(100 * 1050 + 50 * 25)
    # Two prompts have half as many pairs as one of all their tokens.
    assert one_chunk([Chunk(100, 0), Chunk(100, 0)]) == (pytest.approx(20000**0.5), 0.0)


def test_contexts_are_two_groups_of_the_same_mean_spread_and_longest() -> None:
    contexts = [100, 300, 350, 900, 1000]
    found = Contexts.of(contexts)
    short = (found.mean - found.part * found.longest) / (1 - found.part)
    spread = found.part * (found.longest - found.mean) ** 2
    spread += (1 - found.part) * (short - found.mean) ** 2
    assert found.mean == np.mean(contexts)
    assert found.longest == 1000
    assert spread == pytest.approx(np.var(contexts))
    assert Contexts.of([7, 7]) == Contexts(2, 7.0, 7.0, 1.0)


def unequal(share: float) -> pd.DataFrame:
    """Return measured groups that take a share of what it costs if all are as long."""
    rows = [
        {
            "chunk": 0, "n_decode": count, "n_long": long, "context": 256, "long_context": 1024,
            "equal_seconds": 1e-5, "longest_seconds": 3e-5, "seconds": 1e-5 * (1 + 2 * share),
        }
        for count in (8, 32)
        for long in (1, 4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_unequal_contexts_take_the_share_that_was_measured() -> None:
    rule = UnequalContexts.of(unequal(0.25))
    assert rule.error == pytest.approx(0)
    assert rule.beside is None
    equal, most = FULL.at(0, 0, 8, 500), FULL.at(0, 0, 8, 2000)
    found = rule.seconds(FULL, 0, 0, Contexts(8, 500.0, 2000.0, 0.125))
    assert found == pytest.approx(equal + 0.25 * (most - equal))
    # Beside a prompt nothing was measured, and all alike take no more.
    mixed = rule.seconds(FULL, 64, 0, Contexts(8, 500.0, 2000.0, 0.125))
    assert mixed == FULL.at(64, 0, 8, 500)
    assert rule.seconds(FULL, 0, 0, Contexts(8, 500.0, 500.0, 1.0)) == equal


def test_without_measured_groups_the_mean_counts() -> None:
    rule = UnequalContexts.of(unequal(0.25).iloc[:0])
    assert rule.error is None
    assert rule.seconds(FULL, 0, 0, Contexts(8, 500.0, 2000.0, 0.1)) == FULL.at(0, 0, 8, 500)
