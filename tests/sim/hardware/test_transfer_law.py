"""The law that carries work between devices: its parts, its interval, and what it was fitted on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adadecode.profiles.catalog.devices import Device, Measured, find_device
from adadecode.sim.hardware.cost_model import Cost
from adadecode.sim.hardware.roofline import Interval
from adadecode.sim.hardware.transfer_law import (
    EVERY_DEVICE,
    LEFT_OUT,
    SAME_ARCHITECTURE,
    LawCarrier,
    law_for,
    sustained_ratio,
)

PRODUCT = Cost(weights=1e8, activations=1e5, flops=1e8, kernels=1)


def carried(source: str | Device, target: str | Device, seconds: float = 6e-5) -> Interval:
    here, there = (one if isinstance(one, Device) else find_device(one) for one in (source, target))
    carrier = LawCarrier(source=here, target=there, source_dtype="bf16", target_dtype="bf16")
    return carrier.carry(seconds, PRODUCT, PRODUCT)


def test_kernels_go_with_the_clock_bytes_with_bandwidth_and_flops_with_the_peak() -> None:
    device = replace(find_device("rtx-4090"), lbm_bandwidth=None)
    law = EVERY_DEVICE
    assert law.seconds(Cost(kernels=2), device, "bf16") == pytest.approx(2 * law.cycles / 2.52e9)
    whole = law.seconds(Cost(weights=1e9), device, "bf16")
    assert whole == pytest.approx(1e9 / law.share / device.bandwidth)
    multiplied = law.seconds(Cost(flops=1e12), device, "bf16")
    assert multiplied == pytest.approx(law.unhidden * 1e12 / device.peak("bf16"))


def test_a_device_is_as_fast_as_its_benchmarks_say_and_as_usual_without_any() -> None:
    """What it does while it writes counts only where nobody measured how fast it reads."""
    plain = find_device("rtx-5090")
    plain = replace(plain, lbm_bandwidth=None, read_bandwidth=None, dot_bandwidth=None)
    assert sustained_ratio(plain) == 1
    slow = replace(plain, lbm_bandwidth=Measured(value=0.796 * 0.9 * plain.bandwidth, source="x"))
    assert sustained_ratio(slow) == pytest.approx(0.9)
    both = replace(slow, dot_bandwidth=Measured(value=0.933 * plain.bandwidth, source="x"))
    assert sustained_ratio(both) == pytest.approx(1)
    read = replace(both, read_bandwidth=Measured(value=0.965 * 0.9 * plain.bandwidth, source="x"))
    assert sustained_ratio(read) == pytest.approx(0.9**0.5)


def test_what_the_source_showed_counts_only_within_an_architecture() -> None:
    usual, slow = carried("a100-80gb-sxm", "h100-sxm"), carried("a100-80gb-sxm", "h100-sxm", 9e-5)
    assert usual == slow
    usual, slow = carried("h100-sxm", "h200-sxm"), carried("h100-sxm", "h200-sxm", 9e-5)
    assert slow.middle / usual.middle == pytest.approx(1.5**SAME_ARCHITECTURE)
    assert (slow.high - slow.low) / slow.middle < 0.13
    assert carried("h100-sxm", "h100-sxm") == Interval.exactly(6e-5)


def test_no_device_is_predicted_from_its_own_times() -> None:
    for name, law in LEFT_OUT.items():
        assert law_for(find_device(name)) == law != EVERY_DEVICE
    assert law_for(find_device("l4")) == EVERY_DEVICE
