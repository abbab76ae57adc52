"""The first screen of a report is honest: whether to trust it, noise floors, what leans high."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adadecode.profiles import Profile
from adadecode.sim.report.document import Report
from adadecode.sim.report.export import markdown
from adadecode.sim.report.sweep.headline import LEAN
from adadecode.sim.report.writer import build_report
from tests.support.handmade import recorded_profile
from tests.support.paths import ROOT
from tests.support.sweeps import small_sweep
from tests.support.synthetic_profile import synthetic_profile

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")

RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A recording during which other programs kept one of two processors busy."""
    machine = {"device": "cpu", "threads": 1, "host": {"cpu": "a CPU", "threads": 2}}
    return recorded_profile(
        tmp_path_factory.mktemp("busy") / "p",
        slower={"vanilla": 1.4},
        manifest={"hardware": {"before": machine}, "conditions": {"others": [0.9, 1.0, 1.1]}},
    )


@pytest.fixture(scope="module")
def report(busy: Profile) -> Report:
    return build_report(busy)


def test_a_busy_recording_is_not_trusted_and_says_why(report: Report) -> None:
    assert report.verdict is not None
    assert not report.verdict.trusted
    assert report.verdict.answer == "Trust this recording: no"
    assert any("50%" in reason for reason in report.verdict.reasons)


def test_the_share_of_busy_processors_is_among_the_first_numbers(report: Report) -> None:
    facts = {fact.label: fact.value for fact in report.facts}
    assert facts["busy with other programs"] == "50.0%"


def test_every_error_has_its_noise_floor(report: Report) -> None:
    errors = [
        fact for fact in report.facts if fact.label in {"time error (T2)", "speedup error (T2)"}
    ]
    assert len(errors) == 2
    assert all("noise floor" in fact.note for fact in errors)


def test_the_verdict_is_in_the_markdown_above_the_numbers(report: Report) -> None:
    text = markdown(report)
    assert text.index("**Trust this recording: no**") < text.index("- best measured")


def test_the_headline_of_a_sweep_is_a_prediction_that_leans_high(
    busy: Profile, tmp_path: Path
) -> None:
    """It stands right below the headline, with how many designs it was chosen from."""
    sweep = small_sweep(tmp_path / "s", busy, others={}, max_heads=1)
    report = build_report(sweep)
    assert "predicted to give" in report.headline
    assert f"the best of {len(sweep.designs)} predictions" in report.lead
    assert "leans high: on the bundled model, measured speedups were 1 to 3 % below" in report.lead


def test_how_far_a_winner_leans_is_what_the_benchmarks_measured() -> None:
    """The figures of the sentence are those of the committed results."""
    off_design = json.loads((RESULTS / "off_design.json").read_text())
    drops = [
        100 * (design["predicted_speedup"] / design["measured_speedup"] - 1)
        for design in off_design["designs"]
        if design["design"] != "vanilla"
    ]
    lowest, highest = (f"{drop:.0f}" for drop in (min(drops), max(drops)))
    assert f"{lowest} to {highest} % below the predicted ones for {len(drops)} designs" in LEAN
    assert len(drops) == off_design["designs_not_recorded"]
    best = json.loads((RESULTS / "best.json").read_text())
    assert f"{100 * best['median_error']:.1f} % in the median" in LEAN
    assert f"for {len(best['designs'])} designs of a sweep" in LEAN
    below = [design for design in best["designs"] if design["speedup"] < design["predicted"]]
    assert len(below) > len(best["designs"]) / 2


def test_a_sweep_shows_whether_to_trust_its_recording(busy: Profile, tmp_path: Path) -> None:
    report = build_report(small_sweep(tmp_path / "s", busy, others={}, max_heads=1))
    assert report.verdict is not None
    assert report.verdict.answer == "Trust this recording: no"


def test_latencies_without_runs_are_not_trusted(tmp_path: Path) -> None:
    """Nothing of such a profile was checked."""
    report = build_report(synthetic_profile(tmp_path / "p"))
    assert report.verdict is not None
    assert not report.verdict.trusted
