"""The paper's figures in three regimes: heads at a model's depths, and what is kept of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.harness import RESULTS
from benchmarks.paper_regimes import BY_RATES, JOINT, main, model_of
from benchmarks.published import FIGURE_5, VANILLA


def test_fitted_heads_are_read_as_they_were_kept() -> None:
    """At the depths of another model they are as right and as sure."""
    fits = json.loads((RESULTS / "paper.json").read_text("utf-8"))["fits"]
    for name in (BY_RATES, JOINT):
        about = fits[name]["model"]
        kept = model_of(about, about["n_layers"], about["depths"])
        assert json.loads(json.dumps(kept.to_dict())) == about
        moved = model_of(about, 48, (12, 24, 36))
        assert (moved.depths, moved.agreement) == ((12, 24, 36), kept.agreement)


def test_without_tables_nothing_is_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is said, and the results stay."""
    before = (RESULTS / "paper_regimes.json").read_bytes()
    main(["--data", str(tmp_path)])
    assert "skipped: no kernel tables of a100_sxm in" in capsys.readouterr().out
    assert (RESULTS / "paper_regimes.json").read_bytes() == before


def test_the_kept_results_hold_every_published_cell() -> None:
    kept = json.loads((RESULTS / "paper_regimes.json").read_text("utf-8"))
    assert [row["gamma"] for row in kept["figure_5"]["rows"]] == list(FIGURE_5)
    cells = [(name, task) for name, tasks in VANILLA.items() for task in tasks]
    for part in ("vanilla", "table_2"):
        assert [(row["model"], row["task"]) for row in kept[part]] == cells
