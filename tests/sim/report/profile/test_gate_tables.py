"""How well gates find good exits, as the profile page shows it."""

from __future__ import annotations

import pytest

from adadecode.profiles import Profile, Trace
from adadecode.sim.report.export import csv_files, markdown
from adadecode.sim.report.profile import gate_tables
from adadecode.sim.report.profile.profile_report import profile_report
from tests.support.gated import gated_profile
from tests.support.handmade import one_text

CONFIDENT = {(output, 1): (0.9, 10 + output) for output in (1, 2)}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return gated_profile(tmp_path_factory.mktemp("report") / "p")


def test_recall_by_hand() -> None:
    """Good exits at outputs 1 and 2 of 4, scored first and third: half are found by asking at a
    half, all by asking at three quarters, and three of four pairs are in order.
    """
    trace = one_text(
        [10, 11, 12, 13, 14],
        CONFIDENT,
        gates={(1, 1): 0.9, (2, 1): 0.3, (3, 1): 0.6, (4, 1): 0.1},
        depths=(1,),
    )
    recalled = gate_tables.recall(trace, (0,)).set_index("asked")
    assert recalled.loc[[0.0, 0.25, 0.5, 0.75, 1.0], "recall"].tolist() == [0, 0.5, 0.5, 1, 1]
    assert set(recalled["quality"]) == {0.75}
    assert set(recalled["good"]) == {0.5}
    counts = gate_tables.histogram(trace, (0,))
    assert (counts["good"].sum(), counts["other"].sum()) == (2, 2)


def test_a_head_without_good_exits_has_no_recall() -> None:
    trace = one_text([10, 11, 12], gates={(1, 1): 0.9}, depths=(1,))
    assert gate_tables.recall(trace, (0,)).empty


def test_the_page_shows_gates(profile: Profile) -> None:
    """Recall, scores and a table for heads with gates; nothing of it for others."""
    report = profile_report(profile, created="today")
    names = {item.name for section in report.sections for item in section.items}
    assert {"gate-recall", "gate-scores", "gate-quality-table"} <= names
    files = csv_files(report)
    assert files["gate-quality"].startswith("depth,") if "gate-quality" in files else True
    assert "good exits" in markdown(report)
    quality = gate_tables.quality(
        gate_tables.recall(Trace.from_profile(profile), tuple(profile.prompts["prompt"]))
    )
    assert quality["depth"].tolist() == list(profile.depths)
    assert (quality["at_60"] >= quality["at_10"]).all()
