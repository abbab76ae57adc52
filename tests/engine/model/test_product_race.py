"""Inductor's sums against our product, by a clock that the passes themselves move."""

from __future__ import annotations

import pytest

from adadecode.engine.model import product_race
from adadecode.engine.model.product_race import Pass, sums_are_sooner
from adadecode.engine.runtime import timing_in_turn


@pytest.mark.parametrize(
    ("sums", "ours", "sooner"),
    [
        ((2, 4), (3, 4), True),
        ((2, 5), (3, 4), False),  # as long together
        ((2, 4.5), (3, 4), False),  # sooner, but by less than a tenth
        ((3, 2), (2, 4), True),  # later in one of them
    ],
)
def test_the_least_times_of_all_passes_count_together(
    sums: tuple[float, float],
    ours: tuple[float, float],
    sooner: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    late = iter(range(100, 0, -1))

    def taking(seconds: float, *, disturbed: bool) -> Pass:
        laps = iter(range(99))

        def run() -> None:
            nonlocal now
            now += seconds + (next(late) if disturbed and next(laps) < 2 else 0)

        return run

    monkeypatch.setattr(timing_in_turn.time, "perf_counter", lambda: now)
    passes = {
        rows: {True: taking(sums[at], disturbed=True), False: taking(ours[at], disturbed=at == 1)}
        for at, rows in enumerate(product_race.TIMED_ROWS)
    }
    assert sums_are_sooner(passes) is sooner
