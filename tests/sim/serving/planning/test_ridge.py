"""Where arithmetic takes over from reading weights."""

from __future__ import annotations

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.serving.planning.ridge import ridge_tokens


@pytest.mark.parametrize(
    ("weights", "tokens"),
    [("bf16", 312e12 / 2039e9), ("int8", 312e12 / 2039e9 / 2)],
)
def test_it_is_the_peak_over_the_bandwidth(weights: str, tokens: float) -> None:
    """312 TFLOP/s and 2,039 GB/s: 153 tokens of 16-bit weights, half of it of 8-bit ones."""
    found = ridge_tokens(find_device("a100-80gb-sxm"), Precision.of(weights, "bf16"))
    assert found == pytest.approx(tokens, rel=0.001)


def test_a_format_that_the_device_lacks_has_none() -> None:
    assert ridge_tokens(find_device("t4"), Precision.of("bf16", "bf16")) is None
