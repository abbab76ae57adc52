"""Which visits count: whole ones, the middle half, compared with their like."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from adadecode.profiles.trimming import usual_visits

COLUMNS = ["point", "context", "repeat", "seconds"]


def kept(rows: list[tuple[int, int, int, float]]) -> list[bool]:
    """Rows of (point, context, visit, seconds)."""
    latency = pd.DataFrame(rows, columns=COLUMNS)
    return usual_visits(latency, latency["point"].to_numpy()).tolist()


def visits_of(rows: list[tuple[int, int, int, float]]) -> list[int]:
    """The visits that are kept, each wholly or not at all."""
    chosen = {
        visit: {keep for keep, row in zip(kept(rows), rows, strict=True) if row[2] == visit}
        for _, _, visit, _ in rows
    }
    assert all(len(both) == 1 for both in chosen.values())
    return [visit for visit, (keep,) in ((v, tuple(both)) for v, both in chosen.items()) if keep]


def test_the_slowest_and_the_fastest_quarter_are_dropped() -> None:
    """Eight visits of two points, faster and slower as a whole: the middle four."""
    levels = [1.0, 5.0, 1.2, 0.9, 1.1, 3.0, 0.8, 1.3]
    assert visits_of(
        [(point, 8, v, level * (point + 1)) for v, level in enumerate(levels) for point in (0, 1)]
    ) == [0, 2, 4, 7]


def test_a_visit_is_judged_as_a_whole() -> None:
    """A hiccup in one sample does not drop the visit that was otherwise like the others."""
    seconds = {
        (0, 0): 1.0,
        (0, 1): 1.5,
        (0, 2): 1.0,
        (0, 3): 1.0,
        (1, 0): 80.0,
        (1, 1): 100.0,
        (1, 2): 120.0,
        (1, 3): 101.0,
    }
    assert visits_of([(point, 8, visit, s) for (point, visit), s in seconds.items()]) == [1, 3]


def test_visits_are_compared_with_those_at_the_same_context() -> None:
    """Four visits each at two contexts, at one of which the machine was slower throughout: two of
    each are kept.
    """
    rows = [
        (context, context, v + 10 * (context == 64), (1 + v / 10) * (1 + context))
        for context in (8, 64)
        for v in range(4)
    ]
    assert visits_of(rows) == [1, 2, 11, 12]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_visits_are_all_kept(count: int) -> None:
    assert visits_of([(0, 8, v, float(1 + v)) for v in range(count)]) == list(range(count))


def test_a_point_that_only_a_dropped_visit_came_to_keeps_its_samples() -> None:
    """The slowest of four visits is the only one to measure point 1."""
    rows = [(0, 8, v, s) for v, s in enumerate((1.0, 2.0, 3.0, 100.0))] + [(1, 8, 3, 9.0)]
    assert kept(rows) == [False, True, True, False, True]


def test_kept_sums_are_sums_of_kept_visits() -> None:
    """The mean over kept samples of each point, summed over points, is the mean of the kept visits'
    own sums.
    """
    random = np.random.default_rng(0)
    seconds = random.lognormal(size=(12, 5)) * random.lognormal(size=(12, 1))
    rows = [
        (point, 8, visit, float(seconds[visit, point])) for visit in range(12) for point in range(5)
    ]
    chosen = visits_of(rows)
    assert len(chosen) == 6
    by_point = pd.DataFrame(rows, columns=COLUMNS)[kept(rows)].groupby("point")["seconds"].mean()
    assert by_point.sum() == pytest.approx(seconds[chosen].sum(1).mean())
