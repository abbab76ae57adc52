"""Devices that differ in bandwidth alone."""

from __future__ import annotations

import pytest

from adadecode.profiles import LatencyTable
from adadecode.profiles.catalog.devices import Device, catalogue, find_device
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.roofline import Roofline, bandwidth_ratio
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.limits.bandwidth import FACTORS, over_bandwidths, with_bandwidth
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.handmade import one_text

H100 = find_device("h100-sxm")
TWO_DRAFTS = Design.of(gamma=0.5, placement=(1,), cap=2)
REPLAY = CompiledReplay.of(
    one_text([10, 11, 12, 13], {(1, 1): (0.9, 11), (2, 1): (0.9, 12)}, depths=(1,))
)


@pytest.mark.parametrize("name", catalogue())
def test_every_bandwidth_is_scaled_and_nothing_else(name: str) -> None:
    """By whatever it is compared with another device.

    Any device of the catalogue, checks included.
    """
    device = find_device(name)
    other = with_bandwidth(device, 0.25)
    ratio = bandwidth_ratio(device, other)
    assert (ratio.low, ratio.middle, ratio.high) == pytest.approx((0.25, 0.25, 0.25))
    for dtype in device.peak_flops:
        here, there = Roofline.of(device, dtype), Roofline.of(other, dtype)
        assert (there.flops, there.clock) == (here.flops, here.clock)
        assert there.bandwidth == pytest.approx(here.bandwidth / 4)
    assert other.name != device.name


def read_by(seconds: float) -> LatencyTable:
    """Layers that take a second; a head, what its reading takes."""
    return uniform_latencies(3, (1,), head=seconds, verify=0.5, max_tokens=3, max_context=64)


def test_the_curve_and_its_crossing_are_as_by_hand() -> None:
    """Three tokens.

    10.5 s for vanilla, 5.5 s and two checks for the design, so that a check may take 2.5 s: that of
    0.4 of the bandwidth that takes 1.
    """

    def latencies(device: Device) -> LatencyTable:
        return read_by(H100.bandwidth / device.bandwidth)

    curve, crossings = over_bandwidths(REPLAY, (0,), TWO_DRAFTS, H100, latencies)
    assert tuple(curve) == FACTORS
    assert curve == pytest.approx({factor: 10.5 / (5.5 + 2 / factor) for factor in FACTORS})
    assert crossings == [pytest.approx(0.4, rel=2e-3)]


def test_where_it_always_pays_there_is_no_crossing() -> None:
    curve, crossings = over_bandwidths(REPLAY, (0,), TWO_DRAFTS, H100, lambda _: read_by(0.5))
    assert list(curve.values()) == pytest.approx([10.5 / 6.5] * len(FACTORS))
    assert crossings == []
