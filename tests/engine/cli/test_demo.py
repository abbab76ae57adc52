"""What ``make demo`` prints: whole tables, and how far its errors can be trusted."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from adadecode.engine.cli.demo import exit_depths, show_comparison
from adadecode.profiles.store import read_profile
from adadecode.sim.core.scheduler import Round
from adadecode.sim.validation.tiers import validate
from tests.support.paths import DEMO_PROFILE


@pytest.fixture(scope="module")
def shown() -> str:
    """The comparison of the committed recording on a terminal of 80 columns."""
    profile = read_profile(DEMO_PROFILE)
    console = Console(file=io.StringIO(), width=80)
    show_comparison(console, profile, validate(profile))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_no_cell_is_cut_at_80_columns(shown: str) -> None:
    assert "\u2026" not in shown
    headings = next(line for line in shown.splitlines() if "predicted" in line and "error" in line)
    assert headings.split() == ["design", "ms/token", "predicted", "speedup", "predicted", "error"]


def test_errors_stand_beside_their_noise_floors(shown: str) -> None:
    text = " ".join(shown.split())
    for tier in ("run time", "speedup"):
        assert f"{tier}: median error" in text
    assert text.count("noise floor: repeats differ by") == 2


def test_the_verdict_on_the_recording_is_printed(shown: str) -> None:
    assert "Trust this recording: " in shown


def test_tokens_are_coloured_by_where_they_exited() -> None:
    """Two drafts of which one held, then the last layer's own."""
    done = Round(start=4, exits=(3, 7), accepted=1, committed=2, work=((0, 1),), checks=(1, 1, 1))
    assert exit_depths([done]) == [0, 3, 0]
