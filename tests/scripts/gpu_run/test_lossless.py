"""What the stages ``lossless`` and ``flips`` count as a loss."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.gpu_run.lossless import find_losses

REPORT = {"prompts": 2, "equal_to_generate": 2, "tolerance_nats": 0.1, "fallbacks": []}
EQUAL_ROW = {"design": "vanilla", "texts": 2, "equal_texts": 2, "beyond": 0}


@pytest.mark.parametrize(
    ("dtype", "change", "row", "wanted"),
    [
        ("float32", {}, {}, []),
        (
            "float32",
            {"equal_to_generate": 1},
            {},
            ["float32: vanilla wrote generate's text on 1 of 2 prompts"],
        ),
        (
            "float32",
            {},
            {"equal_texts": 1},
            ["float32: vanilla wrote vanilla's text on 1 of 2 prompts"],
        ),
        ("float32", {"fallbacks": ["all runs eagerly"]}, {}, ["float32: all runs eagerly"]),
        ("bfloat16", {"equal_to_generate": 1}, {"equal_texts": 1}, []),
        ("bfloat16", {}, {"beyond": 3}, ["bfloat16: vanilla has 3 tokens beyond 0.1 nats"]),
    ],
)
def test_losses_are_named(
    dtype: str, change: dict[str, Any], row: dict[str, Any], wanted: list[str]
) -> None:
    """In FP32 any difference, in BF16 what no near-tie explains, in both what was not captured."""
    report = {**REPORT, **change, "designs": [{**EQUAL_ROW, **row}]}
    assert find_losses(dtype, report) == wanted
