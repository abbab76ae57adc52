"""Runs of a load beside their simulations: errors that cancel are errors all the same."""

from __future__ import annotations

import pytest

from benchmarks.batched_load import row_of, summary_of
from tests.support.held_loads import held_load

TIMES = ("ttft_s", "tpot_s", "e2e_s")


def test_errors_of_two_runs_do_not_cancel() -> None:
    """One run is simulated 20 % too slow, the other one 20 % too fast."""
    held = held_load(simulated=(1.2, 0.8), measured=(1.0, 1.0))
    for time in TIMES:
        for name in ("mean", "p99"):
            signed = [one[time][name] for one in held.signed_errors]
            assert signed == pytest.approx([0.2, -0.2])
            assert held.errors[time][name] == pytest.approx(0.2)
    assert held.median_error == pytest.approx(0.2)


def test_later_runs_do_not_cancel_either() -> None:
    """Of three runs the second takes 10 % longer than the first, and the third 30 % less."""
    held = held_load(simulated=(1.0, 1.0, 1.0), measured=(1.0, 1.1, 0.7))
    assert held.noise is not None
    for time in TIMES:
        assert [one[time]["mean"] for one in held.signed_noise] == pytest.approx([0.1, -0.3])
        assert held.noise[time]["mean"] == pytest.approx(0.2)
    assert held.median_noise == pytest.approx(0.2)
    assert held_load(simulated=(1.0,), measured=(1.0,)).median_noise is None


def test_the_benchmark_keeps_sizes_and_the_signs_of_each_run() -> None:
    held = held_load(simulated=(1.2, 0.8), measured=(1.0, 1.0))
    row = row_of("demo", 8, "light", held, "toys")
    assert row["errors"]["ttft_s"]["mean"] == pytest.approx(0.2)
    assert [one["ttft_s"]["mean"] for one in row["signed_errors"]] == pytest.approx([0.2, -0.2])
    other = held_load(simulated=(1.4, 1.4), measured=(1.0, 1.0))
    rows = [row, row_of("demo", 8, "half", other, "toys")]
    assert summary_of(rows, "p99") == pytest.approx({"error": 0.3, "noise": 0.0, "most_noise": 0.0})
