"""The columns of energy: by measured power, by the power limit, and where nobody knows."""

from __future__ import annotations

import numpy as np
import pytest

from adadecode.sim.prediction.device_energy import device_joules

WORK = (np.array([1e9, 2e9]), np.array([16e9, 8e9]))
PLAIN = (1e9, 16e9)
VANILLA = {"low": 8e-3, "middle": 1e-2, "high": 1.2e-2}
SECONDS = {end: each * np.array([1.0, 0.5]) for end, each in VANILLA.items()}


def test_vanilla_takes_its_own_energy_and_a_faster_design_less() -> None:
    found = device_joules(700, None, SECONDS, VANILLA, WORK, PLAIN)
    same, faster = found["energy_over_vanilla"]
    assert same == 1
    assert faster < 1
    assert found["energy_over_low"][0] == found["energy_over_high"][0] == 1
    assert found["energy_over_low"][1] < faster < found["energy_over_high"][1] < 1
    assert (found["energy_low"] < found["energy_j_per_token"]).all()
    assert (found["energy_j_per_token"] < found["energy_high"]).all()


def test_measured_power_is_that_of_every_design() -> None:
    """250 W for 5 ms; over vanilla's, the ratio of the times."""
    found = device_joules(700, 250, SECONDS, VANILLA, WORK, PLAIN)
    assert found["energy_j_per_token"] == pytest.approx([2.5, 1.25])
    assert found["energy_over_vanilla"] == pytest.approx([1, 0.5])
    assert found["energy_low"] == pytest.approx([2.0, 1.0])


def test_without_ends_of_the_time_energy_has_none() -> None:
    """Nobody knows how far a table of kernels is off at home."""
    found = device_joules(700, None, {"middle": SECONDS["middle"]}, VANILLA, WORK, PLAIN)
    assert not np.isnan(found["energy_over_vanilla"]).any()
    for name in ("energy_low", "energy_high", "energy_over_low", "energy_over_high"):
        assert np.isnan(found[name]).all()


@pytest.mark.parametrize(
    ("limit", "work"), [(None, WORK), (700, (np.full(2, np.nan), np.full(2, np.nan)))]
)
def test_without_watts_or_work_nothing_is_known(
    limit: float | None, work: tuple[np.ndarray, np.ndarray]
) -> None:
    found = device_joules(limit, None, SECONDS, VANILLA, work, PLAIN)
    assert all(np.isnan(each).all() for each in found.values())
