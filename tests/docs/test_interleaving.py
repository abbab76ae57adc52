"""The page on the order of a recording, filled with made-up figures."""

from __future__ import annotations

import pytest

pytest.importorskip("jinja2", reason="fills templates: install the extra 'docs'")

from scripts.docs import hook, results
from scripts.docs.interleaving import compare_orders, sentence, spread_of

NAMES = ("time_error", "time_noise", "speedup_error", "speedup_noise", "busy", "seconds")


def recordings(*time_errors: float | None) -> list[dict[str, float | None]]:
    return [
        {**dict.fromkeys(NAMES, 0.02), "time_error": error, "seconds": 90.0}
        for error in time_errors
    ]


def measured(coarse: list[float | None], fine: list[float | None]) -> dict:
    """Return a results file as ``benchmarks/interleaving.py`` writes it."""
    orders = {"coarse": recordings(*coarse), "fine": recordings(*fine)}
    return {
        "recordings": len(fine),
        "prompts": 8,
        "repeats_of_runs": 5,
        "load": {"workers": 2, "period_s": 60.0},
        "orders": {
            order: {"median": {"seconds": 90.0}, "recordings": rows}
            for order, rows in orders.items()
        },
        "machine": {"cores": 2, "cpu": "CPU"},
        "software": {"torch": "2", "transformers": "5"},
        "when": "2026-12-01 00:00 UTC",
    }


def test_a_difference_within_the_spread_is_no_gain():
    found = compare_orders(measured([0.04, 0.06, 0.08], [0.03, 0.05, 0.07]))
    assert found[0].startswith("**Run time**: no gain shown. The medians differ by 1.0 percentage")
    assert "within the spread of 4.0" in found[0]
    assert found[1].startswith("**Speedup**: no gain shown.")


def test_a_larger_difference_is_named_in_its_direction():
    smaller, _ = compare_orders(measured([0.08, 0.09, 0.10], [0.03, 0.04, 0.05]))
    assert "the fine order is smaller than that of the coarse one by 5.0" in smaller
    larger, _ = compare_orders(measured([0.03, 0.04, 0.05], [0.08, 0.09, 0.10]))
    assert "the fine order is larger than that of the coarse one by 5.0" in larger


def test_what_was_not_measured_is_said_so():
    assert spread_of(recordings(None, None), "time_error") is None
    assert "nothing is shown" in sentence(
        "run time", None, spread_of(recordings(0.1), "time_error")
    )


def test_one_recording_in_each_order_shows_nothing():
    found = compare_orders(measured([0.08], [0.03]))
    assert "nothing is shown. With one recording in each order" in found[0]


@pytest.mark.parametrize("errors", [(0.04, 0.06), (None, None)])
def test_the_page_holds_both_orders(errors, monkeypatch):
    monkeypatch.setattr(results, "results", dict)
    page = results.render("interleaving.md.jinja", interleaving=measured([*errors], [0.01, 0.02]))
    assert "| 1.5 % (1.0 .. 2.0) |" in page
    assert ("| 5.0 % (4.0 .. 6.0) |" in page) == (errors[0] is not None)
    assert ("| not measured |" in page) == (errors[0] is None)
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 8
    assert {line.count("|") for line in table} == {4}
    assert "benchmarks/results/interleaving.json" in page


def test_the_page_is_there_once_it_was_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(hook, "RESULTS", tmp_path)
    nav = [{"Results": ["results/index.md", {"Order": "results/interleaving.md"}]}]
    assert "interleaving.md" not in results.page_names()
    assert hook.complete_navigation(nav) == [{"Results": ["results/index.md"]}]
    (tmp_path / "interleaving.json").touch()
    assert "interleaving.md" in results.page_names()
    assert hook.complete_navigation(nav) == nav
