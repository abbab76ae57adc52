"""The demo model's card follows from what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from adadecode.engine.demo import MODEL
from scripts.demo_model.model_card import write_card


def test_the_shipped_card_is_the_one_that_its_figures_make(tmp_path: Path) -> None:
    facts = json.loads((MODEL / "facts.json").read_text(encoding="utf-8"))
    write_card(facts, tmp_path / "README.md")
    made, shipped = tmp_path / "README.md", MODEL / "README.md"
    assert made.read_text(encoding="utf-8") == shipped.read_text(encoding="utf-8")
