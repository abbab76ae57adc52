"""Latency samples that lie far out: found among those of the same work, shown, left in."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from adadecode.profiles.schema import LATENCY_KINDS, TABLES
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.tables.outliers import outlier_table
from adadecode.sim.measurements.outliers import outliers
from tests.support.paths import DEMO_PROFILE
from tests.support.sim_command import run_json


def samples(kind: str, seconds: list[float], layer: int = 0) -> pd.DataFrame:
    rows = [(kind, layer, 1, 8, 8, repeat, value) for repeat, value in enumerate(seconds)]
    return pd.DataFrame(rows, columns=TABLES["latency"].names)


def test_a_sample_is_held_against_others_of_the_same_work() -> None:
    """A deeper layer that always takes long is none; nor is one that lies within three ranges."""
    even = [1.0, 1.01, 1.02, 1.03]
    table = pd.concat(
        [
            samples("layer", [*even, 5.0]),
            samples("layer", [value * 9 for value in even], layer=1),
            samples("host", even),
        ]
    )
    layer, host = outliers(table)
    assert layer == {
        "kind": "layer",
        "samples": 9,
        "judged": 9,
        "beyond": 1,
        "above": pytest.approx(5 / 1.02),
        "below": None,
    }
    assert (host["beyond"], host["above"]) == (0, None)


def test_a_sample_may_be_too_short() -> None:
    (row,) = outliers(samples("head", [1.0, 1.01, 1.02, 1.03, 0.2]))
    assert row["below"] == pytest.approx(0.2 / 1.01)
    assert row["above"] is None


def test_three_samples_have_no_outlier() -> None:
    (row,) = outliers(samples("head", [1.0, 1.0, 90.0]))
    assert (row["samples"], row["judged"], row["beyond"]) == (3, 0, 0)


def test_normal_samples_are_hardly_ever_so_far_out() -> None:
    """Two in a million of a normal distribution; a little more often by five samples' quartiles is
    not tested here.
    """
    (row,) = outliers(samples("layer", np.random.default_rng(0).normal(1.0, 0.01, 5000).tolist()))
    assert row["beyond"] == 0


def test_validate_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys, "validate", DEMO_PROFILE, "--json")["outliers"]
    assert {row["kind"] for row in rows} == set(LATENCY_KINDS) - {"gate"}  # its heads have none
    assert sum(row["samples"] for row in rows) == len(read_profile(DEMO_PROFILE).latency)
    shown = io.StringIO()
    Console(file=shown, width=200).print(outlier_table(rows))
    assert "beyond 3 interquartile ranges" in shown.getvalue()
    assert "furthest below" in shown.getvalue()
    assert "kept or dropped whole" in shown.getvalue()


def test_an_empty_table_has_no_rows() -> None:
    assert outliers(samples("layer", []).astype({"seconds": float})) == []
