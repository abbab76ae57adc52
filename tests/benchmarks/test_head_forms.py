"""The benchmark of cheaper heads: what it counts, and whether its tables fit a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from adadecode.sim.core.scheduler import Round
from benchmarks.head_forms import DESIGN, FORMS, count_rounds, tables_of


def test_tokens_and_rejected_drafts_are_counted_over_all_rounds() -> None:
    """Five tokens in two rounds; one of four drafts was rejected."""
    works: dict[str, Any] = {"work": ((0, 1),), "checks": (3,)}
    rounds = [
        Round(start=9, exits=(3, 3), accepted=2, committed=3, **works),
        Round(start=12, exits=(3, 7), accepted=1, committed=2, **works),
    ]
    assert count_rounds(rounds) == {"tokens_per_round": 2.5, "rejected": 0.25}


def test_its_tables_fit_80_columns() -> None:
    """Nothing is cut off."""
    row = {
        "coverage": {"depths": list(DESIGN.placement), "formed": [1.0, 1.0], "outside": 0.179},
        "measured": {"tokens_per_round": 4.75, "rejected": 0.103},
        "predicted_from_full": {"tokens_per_round": 3.65, "rejected": 0.0},
        "speedup": {"median": 2.05, "min": 1.95, "max": 2.15},
    }
    costs = {f"{name}/head at {depth}": 1234.5 for name in FORMS for depth in DESIGN.placement}
    results = {
        "design": DESIGN.label,
        "check_microseconds": costs,
        "domains": {"arithmetic": dict.fromkeys(FORMS, row)},
    }
    with Console(width=80, record=True) as console:
        console.print(*tables_of(results))
    shown = console.export_text()
    assert "\u2026" not in shown
    for cell in (
        "shortlist:256 int8",
        "1234 / 1234",
        "2.05 (1.95 .. 2.15)",
        "17.9%",
        "100.0%",
        "4.75",
        "10.3%",
    ):
        assert f" {cell} " in shown
