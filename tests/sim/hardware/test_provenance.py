"""Where a profile's latencies are from, in the words of the catalogue or its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles.errors import DeviceError, ShapeError
from adadecode.profiles.store import read_profile
from adadecode.sim.hardware.provenance import attends, device_of, is_eager, machine_of, shape_of
from tests.support.paths import DEMO_PROFILE
from tests.support.recordings import imported, on_a100
from tests.support.synthetic_profile import synthetic_profile


def test_a_device_is_known_by_its_name_or_its_title(tmp_path: Path) -> None:
    """As an import and as a driver write it."""
    assert device_of(imported(tmp_path)).name == "a100-80gb-sxm"
    driver = synthetic_profile(
        tmp_path / "p", manifest={"hardware": {"before": {"gpu": {"name": "NVIDIA A40"}}}}
    )
    assert device_of(driver).name == machine_of(driver) == "a40"


def test_an_unknown_machine_is_called_what_it_calls_itself(tmp_path: Path) -> None:
    """The bundled recording names its processor; and which device that is, nobody guesses."""
    demo = read_profile(DEMO_PROFILE)
    assert machine_of(demo) == "AMD EPYC"
    with pytest.raises(DeviceError, match="say which device it was with --from"):
        device_of(demo)
    assert device_of(demo, "t4").name == "t4"
    assert (
        machine_of(synthetic_profile(tmp_path / "p", manifest={"hardware": {}}))
        == "an unknown machine"
    )


def test_what_a_recording_says_is_not_contradicted(tmp_path: Path) -> None:
    """Neither its device nor its model."""
    profile = on_a100(tmp_path / "p")
    assert shape_of(profile).n_layers == 8
    with pytest.raises(DeviceError, match="leave --from out"):
        device_of(profile, "t4")
    with pytest.raises(ShapeError, match="name the model that was recorded"):
        shape_of(profile, "llama-2-7b")


def test_how_it_was_recorded_is_told(tmp_path: Path) -> None:
    """Operators apart from attention; kernels from the host."""
    assert [attends(one) for one in (imported(tmp_path), on_a100(tmp_path / "p"))] == [False, True]
    assert is_eager(on_a100(tmp_path / "eager", graphs="eager"))
