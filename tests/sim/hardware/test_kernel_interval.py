"""Ends and joules of work that was put together from kernels, on the device they are of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim.hardware import kernel_interval
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.hardware.importers.aiconfigurator import import_kernels, system_device
from adadecode.sim.hardware.kernel_power import SENSOR
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.latency_points import CORNERS
from adadecode.sim.hardware.power import POWER, drawn_over_vanilla
from tests.support.kernel_tables import product_table, write_exchanges, write_kernel_tables

SHAPE = replace(find_model("llama-3.1-8b"), name="small", n_layers=4)
LIMIT = 400.0
"""Watts of an A100."""


def imported(folder: Path, watts: float | None = None, n_devices: int = 1) -> Profile:
    """A model from made-up tables, whose products draw some watts where these are known."""
    products = product_table()
    if watts is not None:
        products["power"] = watts
    place = write_kernel_tables(folder / "t", products)
    write_exchanges(place)
    tables = KernelLibrary.of(place).tables("a100_sxm", "vllm")
    device = system_device("a100_sxm")
    return import_kernels(tables, SHAPE, device, folder / "p", n_devices=n_devices)


def test_the_middle_is_what_was_measured_and_the_ends_are_those_of_its_parts(
    tmp_path: Path,
) -> None:
    """One token: each part has the error of what it rests on, and all are wrong together."""
    profile = imported(tmp_path)
    found = measured_latencies(profile)
    assert found.basis == "measured"
    assert set(found.tables) == set(CORNERS)
    (piece,) = (
        one
        for one in profile.manifest["settings"]["rests_on"]
        if (one["kind"], one["n_tokens"], one["context"]) == ("layer", 1, 1024)
    )
    bases = {one["part"]: one["basis"] for one in piece["parts"]}
    assert bases["attention_out"] == bases["attention"] == "measured"
    assert bases["mlp_up"] == "interpolated"
    assert bases["elementwise"] == "estimated"
    shares = {"measured": 0.05, "interpolated": 0.07, "estimated": 0.25}
    wrong = sum(shares[one["basis"]] * one["seconds"] for one in piece["parts"])
    place = (0, 1, 1024, 4)
    assert found.middle.layer(*place) == profile.latency_table.layer(*place)
    assert found.tables["low"].layer(*place) == pytest.approx(piece["seconds"] - wrong)
    assert found.tables["high"].layer(*place) == pytest.approx(piece["seconds"] + wrong)


def test_several_tokens_may_attend_far_longer_than_one(tmp_path: Path) -> None:
    """Which is the least; regrouped heads may be faster."""
    assert kernel_interval.spread_of("attention", "estimated") == (0.07, 2.65)
    assert kernel_interval.spread_of("attention", "composed") == (0.3, 0.07)
    assert kernel_interval.spread_of("elementwise", "estimated") == (0.25, 0.25)


def test_a_manifest_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    profile = imported(tmp_path)
    for damage in ("text", [1], [{"kind": "layer"}], _pieces(["part"]), None):
        settings = {**profile.manifest["settings"], "rests_on": damage}
        changed = replace(profile, manifest={**profile.manifest, "settings": settings})
        if damage is None:
            assert set(measured_latencies(changed).tables) == {"middle"}
            continue
        with pytest.raises(ProfileError, match=r"settings.rests_on .* import it again"):
            measured_latencies(changed)


def _pieces(parts: list[object]) -> list[dict[str, object]]:
    return [{"kind": "layer", "n_tokens": 1, "context": 1, "parts": parts}]


def test_without_power_in_the_tables_there_are_no_joules(tmp_path: Path) -> None:
    assert measured_latencies(imported(tmp_path)).joules == {}


def test_work_draws_what_its_kernels_drew(tmp_path: Path) -> None:
    """250 W in products; what has no power draws as much, or anything up to the limit."""
    found = measured_latencies(imported(tmp_path, 250.0))
    place = (0, 1, 1024, 4)
    seconds = found.middle.layer(*place)
    low, middle, high = (found.joules[end].layer(*place) for end in ("low", "middle", "high"))
    assert middle == pytest.approx(250 * seconds)
    assert 250 * (1 - SENSOR) * seconds * 0.8 < low < 250 * (1 - SENSOR) * seconds
    assert 250 * (1 + SENSOR) * seconds < high < LIMIT * seconds
    assert found.joules["low"].layer(*place) > POWER["low"].awake_share * LIMIT * seconds
    assert any("power of kernels was measured" in note for note in found.notes)


def test_power_beyond_the_limit_is_the_limit(tmp_path: Path) -> None:
    found = measured_latencies(imported(tmp_path, 900.0))
    drawn = found.joules["middle"].verify(1) / found.middle.verify(1)
    assert drawn == pytest.approx(LIMIT)


def test_devices_that_share_the_work_draw_together(tmp_path: Path) -> None:
    found = measured_latencies(imported(tmp_path, 250.0, n_devices=2))
    place = (0, 1, 1024, 4)
    assert found.device == "2 x a100-80gb-sxm"
    assert found.joules["middle"].layer(*place) == pytest.approx(500 * found.middle.layer(*place))
    assert any("share every layer" in note for note in found.notes)


def test_joules_over_vanillas_take_the_same_end_for_both() -> None:
    """Half the joules at each end, and up to 10 % more or less time than vanilla's."""
    ours, plain = {"low": 1.0, "middle": 2.0, "high": 3.0}, {"low": 2.0, "middle": 4.0, "high": 6.0}
    seconds = {"middle": 1.0, "low": 0.9, "high": 1.1}
    ratio = drawn_over_vanilla(ours, plain, seconds, dict.fromkeys(seconds, 2.0))
    assert [float(ratio[end]) for end in ("low", "middle", "high")] == pytest.approx(
        [0.45, 0.5, 0.55]
    )
    assert np.ndim(ratio["middle"]) == 0
