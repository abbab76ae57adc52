"""The comparison of a pretrained model's texts: its pieces, their sums and their page."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pretrained_lossless
from benchmarks.pretrained_lossless import described, kept_pieces, label_of, shares_of

ASKED = {"model": "smollm2", "heads": "0123", "tokens": 128, "prompts": 10, "share": 2}


def piece(name: str, runs: int, **counts: int) -> dict[str, Any]:
    return {"set": name, "designs": {"vanilla": {"runs": runs, **counts}}, "revision": "abc"}


def test_pieces_take_the_sets_in_turn_and_each_prompt_once() -> None:
    shares = shares_of(10, 2)
    assert [name for name, _ in shares][:4] == ["GSM8K", "HumanEval", "summaries", "GSM8K"]
    counts: Counter[str] = Counter()
    for name, rows in shares:
        counts[name] += len(rows)
    assert counts == {"GSM8K": 4, "HumanEval": 3, "summaries": 3}


def test_the_sums_are_those_of_the_pieces() -> None:
    pieces = {
        "GSM8K 0-2": piece("GSM8K", 2, equal=2),
        "GSM8K 2-4": piece("GSM8K", 2, equal=1, explained=1),
        "summaries 0-2": piece("summaries", 2, equal=2),
    }
    found = described("eager", ASKED, pieces)
    assert found["done"] == 6
    assert found["revisions"] == ["abc"]
    (row,) = found["sets"]["GSM8K"]
    assert (row["runs"], row["equal"], row["explained"], row["unexplained"]) == (4, 3, 1, 0)
    assert found["sets"]["HumanEval"] == []


def test_only_pieces_of_this_run_are_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of another number of prompts overlap with its own, and would be counted twice."""
    monkeypatch.setattr(pretrained_lossless, "RESULTS", tmp_path)
    pieces = {"GSM8K 0-2": piece("GSM8K", 2), "GSM8K 0-4": piece("GSM8K", 4)}
    path = tmp_path / "pretrained_lossless_eager.json"
    path.write_text(json.dumps(described("eager", ASKED, pieces)), encoding="utf-8")
    assert list(kept_pieces("eager", ASKED)) == [label_of("GSM8K", range(2))]
    assert kept_pieces("canonical", ASKED) == {}
    assert kept_pieces("eager", {**ASKED, "heads": "4567"}) == {}


def test_the_page_shows_what_is_done_so_far() -> None:
    pytest.importorskip("jinja2", reason="fills templates: install the extra 'docs'")
    from scripts.docs import results

    origin = dict(results.results()["few_rows"])
    found = {
        f"pretrained_lossless_{part}": {
            **{name: origin[name] for name in ("machine", "software", "when")},
            **described(part, ASKED, {"GSM8K 0-2": piece("GSM8K", 2, tokens=9, equal=2)}),
        }
        for part in pretrained_lossless.PARTS
    }
    page = results.render("pretrained.md.jinja", **found)
    assert page.count("2 of 10 prompts, at most 128 tokens each.") == len(pretrained_lossless.PARTS)
    assert "| GSM8K | vanilla | 2 | 2 | 0 | 0 | 0 | 0 |" in page
    assert "| GSM8K | vanilla | 2 | 9 | 0 | 0 |" in page
