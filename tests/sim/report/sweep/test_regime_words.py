"""What limits the work of a device, in a cell of the report."""

from __future__ import annotations

import pytest

from adadecode.sim.report.sweep.regime_words import limit_words


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "-"),
        ({"layer": "device", "head": "device", "prefill": "host"}, "device"),
        ({"layer": "host", "head": "host", "prefill": "device"}, "host"),
        ({"layer": "host", "head": "device", "verify": "host"}, "host: layer, verify"),
    ],
)
def test_a_prompt_does_not_count_for_decoding(limits: dict[str, str], words: str) -> None:
    assert limit_words(limits) == words
