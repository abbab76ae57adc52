"""Where numbers come from, in words: nothing unknown is written as a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import read_profile
from adadecode.sim.report import manifest_text
from adadecode.sim.report.sweep.provenance_section import sweep_table
from adadecode.sim.report.sweep.sweep_data import SweepData
from tests.support.handmade import recorded_profile
from tests.support.sweeps import small_sweep

DEMO = Path("profiles/recorded/demo-cpu")


def test_values_that_there_are_none_of_are_left_out() -> None:
    """A manifest of a CPU holds the version of CUDA as the text None."""
    facts = manifest_text.provenance(read_profile(DEMO))
    assert "None" not in " ".join(facts.values())
    assert facts["software"].startswith("torch 2.13.0+cpu, transformers ")


def test_a_time_is_written_to_the_minute() -> None:
    assert manifest_text.moment("2026-11-21T09:57:21+00:00") == "2026-11-21 09:57 UTC"
    assert manifest_text.moment("2026-11-21T11:57:21+02:00") == "2026-11-21 09:57 UTC"


@pytest.mark.parametrize(("recorded", "written"), [(None, "not recorded"), ("today", "today")])
def test_what_is_no_time_stays_as_it_is(recorded: str | None, written: str) -> None:
    assert manifest_text.moment(recorded) == written


def test_software_that_is_unknown_is_not_recorded() -> None:
    assert manifest_text.named_values(None) == "not recorded"


def test_a_sweep_over_all_domains_and_without_software_names_neither(tmp_path: Path) -> None:
    """The prompts are counted and numbered; there is no row for what the sweep does not hold."""
    profile = recorded_profile(tmp_path / "p")
    about = {"prompts": {"domain": None, "count": 3, "chosen": [0, 1, 2]}, "software": None}
    sweep = small_sweep(tmp_path / "s", profile, others={}, max_heads=1, about=about)
    frame = sweep_table(SweepData(sweep=sweep)).frame.set_index("what")["value"]
    assert frame["prompts"] == "3 prompts of all domains (numbers 0, 1, 2)"
    assert "software" not in frame
    assert "None" not in " ".join(frame)
