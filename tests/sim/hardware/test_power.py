"""Joules: from what a device draws awake and what bytes and FLOPs add, within its power limit."""

from __future__ import annotations

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.sim.hardware.power import POWER, energy_bounds, over_vanilla

H200 = find_device("h200-sxm")


def test_a_device_at_work_draws_more_than_its_idle_share() -> None:
    """An H200 for a second: 28, 140 and 350 W awake, 4 TB and a TFLOP besides."""
    idle, busy = energy_bounds(H200, 1.0, 0.0, 0.0), energy_bounds(H200, 1.0, 1e12, 4e12)
    assert idle is not None
    assert busy is not None
    assert (idle.low, idle.middle, idle.high) == pytest.approx((28, 140, 350))
    assert busy.low == pytest.approx(28 + 4e12 * 8 * 3.9e-12 + 0.1)
    assert busy.middle == pytest.approx(140 + 4e12 * 50e-12 + 0.4)
    assert busy.high == 700


def test_the_bounds_hold_the_draws_that_they_were_chosen_from() -> None:
    """137 to 300 W (arXiv 2605.11999): asleep to the bandwidth that it sustains, of 4.8 TB/s."""
    slowest, fastest = (energy_bounds(H200, 1.0, 0.0, share * 4.8e12) for share in (0.0, 0.85))
    assert slowest is not None
    assert fastest is not None
    assert slowest.low < 137 < slowest.high
    assert fastest.low < 300 < fastest.high
    assert slowest.middle == pytest.approx(137, rel=0.05)


def test_energy_never_exceeds_the_power_limit() -> None:
    """A time that is far too short gives no higher bound."""
    found = energy_bounds(find_device("l4"), 1e-6, 1e12, 1e12)
    assert found is not None
    assert found.low == found.middle == found.high == 72e-6


def test_without_watts_there_is_no_energy() -> None:
    assert energy_bounds(find_device("tpu-v4"), 1.0, 1.0, 1.0) is None


def test_the_ends_of_what_a_device_draws_rise() -> None:
    low, middle, high = POWER["low"], POWER["middle"], POWER["high"]
    for name in ("awake_share", "per_byte", "per_flop"):
        assert getattr(low, name) < getattr(middle, name) < getattr(high, name)


def test_vanilla_takes_as_much_as_itself_at_every_end() -> None:
    """What is uncertain about a device is the same for both."""
    seconds = {"low": 0.5, "middle": 1.0, "high": 2.0}
    ratio = over_vanilla(700, seconds, seconds, (1e9, 1e12), (1e9, 1e12))
    assert (ratio["low"], ratio["middle"], ratio["high"]) == (1, 1, 1)


def test_half_the_time_at_the_same_bytes_saves_only_what_is_drawn_awake() -> None:
    """1 s and 2 s with 1 TB: (140 + 50) / (280 + 50) in the middle; the ends go over all draws."""
    ratio = over_vanilla(700, {"middle": 1.0}, {"middle": 2.0}, (0.0, 1e12), (0.0, 1e12))
    assert ratio["middle"] == pytest.approx(190 / 330)
    assert ratio["high"] == pytest.approx((28 + 31.2) / (56 + 31.2))
    assert ratio["low"] == pytest.approx((350 + 120) / (700 + 120))
