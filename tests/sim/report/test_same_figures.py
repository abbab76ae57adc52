"""The report and `validate` name the same best design, with the same speed, for one recording."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from adadecode.profiles import Profile, read_profile
from adadecode.sim.core import number_format
from adadecode.sim.report import formatting
from adadecode.sim.report.document import Report
from adadecode.sim.report.writer import build_report
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")

DEMO = Path("profiles/recorded/demo-cpu")


@pytest.fixture(scope="module")
def profile() -> Profile:
    return read_profile(DEMO)


@pytest.fixture(scope="module")
def report(profile: Profile) -> Report:
    return build_report(profile)


@pytest.fixture(scope="module")
def validation(profile: Profile) -> Validation:
    return validate(profile)


@pytest.fixture(scope="module")
def designs(validation: Validation) -> pd.DataFrame:
    """What `validate` prints of each design."""
    return validation.by_design().set_index("design")


def test_the_best_design_and_its_speedup_are_the_same(
    report: Report, designs: pd.DataFrame
) -> None:
    best = designs.loc[designs["speedup"].idxmax()]
    fact = next(fact for fact in report.facts if fact.label == "best measured")
    assert fact.note.startswith(f"{best.name} (")
    assert fact.value == formatting.times(best["speedup"])
    interval = formatting.span(best["speedup_low"], best["speedup_high"])
    assert report.headline.endswith(f"{fact.value} {interval}.")


def test_the_time_of_vanilla_is_the_same(report: Report, designs: pd.DataFrame) -> None:
    written = formatting.milliseconds(designs.loc["vanilla", "tpot_s"])
    fact = next(fact for fact in report.facts if fact.label == "vanilla, measured")
    assert fact.value == written
    assert f"Vanilla takes {written} for a token" in report.lead


def test_every_measured_design_has_the_same_speed(report: Report, designs: pd.DataFrame) -> None:
    table = next(table for table in report.tables if table.name == "measured-designs-table")
    rows = table.frame[table.frame["domain"] == "all text"].set_index("design")
    assert set(rows.index) == set(designs.index)
    for column in ("tpot_s", "speedup"):
        assert rows[column].to_dict() == pytest.approx(designs[column].to_dict())
    assert rows["predicted"].to_dict() == pytest.approx(designs["predicted_speedup"].to_dict())


def test_the_errors_and_noise_floors_are_the_same(report: Report, validation: Validation) -> None:
    trust = validation.trust
    facts = {fact.label: fact for fact in report.facts}
    for label, error, noise in (
        ("time error (T2)", trust.time_error, trust.time_noise),
        ("speedup error (T2)", trust.speedup_error, trust.speedup_noise),
    ):
        assert error is not None
        assert noise is not None
        assert facts[label].value == number_format.percent(error)
        assert facts[label].note == f"in the median; noise floor {number_format.percent(noise)}"
