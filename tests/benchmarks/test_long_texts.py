"""The committed figures on the memory of long texts."""

from __future__ import annotations

import json

import pytest

from benchmarks.harness import RESULTS
from benchmarks.long_texts import CASES, SIDES

FOUND = json.loads((RESULTS / "long_texts.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES)
def test_a_long_text_takes_about_as_much_as_with_generate(case: str) -> None:
    """At most 1.5 times as much and 0.3 GB more, in every repeat."""
    peaks = FOUND["cases"][case]["peaks"]
    assert all(len(peaks[side]) == FOUND["repeats"] for side in SIDES)
    assert max(peaks["AdaDecoder"]) <= 1.5 * min(peaks["generate"]) + 0.3e9
