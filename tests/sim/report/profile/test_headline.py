"""The headline of a profile says what its runs measured, whether they paid or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adadecode.sim.report.document import Report
from adadecode.sim.report.writer import build_report
from tests.support.handmade import DESIGNS, recorded_profile

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")

DESIGN = DESIGNS[1].label
SCRIPTED = {"profile": "other", "model": "another model", "n_layers": 16, "map": {"3": 2}}


def report(path: Path, slower: float, manifest: Mapping[str, Any] | None = None) -> Report:
    """Return the report on a recording of which the verified design took so much longer."""
    profile = recorded_profile(path / "p", slower={DESIGN: slower}, manifest=manifest or {})
    return build_report(profile)


def best_measured(made: Report) -> str:
    return next(fact.value for fact in made.facts if fact.label == "best measured")


@pytest.mark.parametrize("manifest", [{}, {"scripted": SCRIPTED}], ids=["own", "scripted"])
@pytest.mark.parametrize("slower", [1.0, 50.0], ids=["faster", "slower"])
def test_decisions_of_another_recording_are_told_however_fast_the_runs_were(
    tmp_path: Path, slower: float, manifest: Mapping[str, Any]
) -> None:
    begins = "With scripted decisions, on " if manifest else "On "
    assert report(tmp_path, slower, manifest).headline.startswith(begins)


def test_a_design_slower_than_vanilla_was_run_all_the_same(tmp_path: Path) -> None:
    """The headline says that it lost and by how much, not that nothing was run."""
    made = report(tmp_path, 50.0)
    lost = best_measured(made)
    assert float(lost.removesuffix("×")) < 1
    assert (
        f"no measured design is faster than vanilla: heads 2/4/6 at gamma 0.75 give {lost}"
        in made.headline
    )
    assert "the fastest of 1 design" in made.lead


def test_a_design_faster_than_vanilla_is_the_answer(tmp_path: Path) -> None:
    made = report(tmp_path, 0.1)
    assert f", heads 2/4/6 at gamma 0.75 give {best_measured(made)}" in made.headline
    assert "no measured design" not in made.headline
