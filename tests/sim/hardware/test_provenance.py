"""Where a profile's latencies are from, in the words of the catalogue or its own."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.errors import DeviceError, ShapeError
from adadecode.profiles.store import read_profile
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.provenance import Provenance
from tests.support.paths import DEMO_PROFILE
from tests.support.recordings import imported, on_a100
from tests.support.synthetic_profile import synthetic_profile

CPU = replace(find_device("t4"), name="box", architecture="cpu")


def test_a_device_is_known_by_its_name_or_its_title(tmp_path: Path) -> None:
    """As an import and as a driver write it."""
    assert Provenance.of(imported(tmp_path)).require_device().name == "a100-80gb-sxm"
    driver = Provenance.of(
        synthetic_profile(
            tmp_path / "p", manifest={"hardware": {"before": {"gpu": {"name": "NVIDIA A40"}}}}
        )
    )
    assert driver.require_device().name == driver.machine == "a40"


def test_an_unknown_machine_keeps_its_own_name(tmp_path: Path) -> None:
    """The bundled recording names its processor; and which device that is, nobody guesses."""
    profile = read_profile(DEMO_PROFILE)
    demo = Provenance.of(profile)
    assert (demo.machine, demo.device) == ("AMD EPYC", None)
    with pytest.raises(DeviceError, match="say which device it was with --from"):
        demo.require_device()
    named = replace(CPU, architecture="other")
    assert Provenance.of(profile, CPU).device == Provenance.of(profile, named).device == CPU
    assert Provenance.of(profile, CPU).machine == "AMD EPYC"
    with pytest.raises(DeviceError, match="was recorded on a CPU, and t4 is none: name the file"):
        Provenance.of(profile, "t4")
    nameless = synthetic_profile(tmp_path / "p", manifest={"hardware": {}})
    assert Provenance.of(nameless).machine == "an unknown machine"


def test_what_a_recording_says_is_not_contradicted(tmp_path: Path) -> None:
    """Neither its device nor its model can be replaced by another."""
    profile = on_a100(tmp_path / "p")
    assert Provenance.of(profile).require_shape().n_layers == 8
    with pytest.raises(DeviceError, match="leave --from out"):
        Provenance.of(profile, "t4")
    with pytest.raises(ShapeError, match="name the model that was recorded"):
        Provenance.of(profile, model="llama-2-7b")


def test_a_model_that_nobody_knows_is_missed_only_where_it_is_needed(tmp_path: Path) -> None:
    """The rest of the provenance is there."""
    profile = on_a100(tmp_path / "p")
    model = {**profile.manifest["model"], "shape": None, "config": {}, "name": "mine"}
    origin = Provenance.of(replace(profile, manifest={**profile.manifest, "model": model}))
    assert origin.shape is None
    assert origin.require_device().name == "a100-80gb-sxm"
    with pytest.raises(ShapeError, match="no model 'mine' in the catalogue"):
        origin.require_shape()


def test_how_it_was_recorded_is_resolved(tmp_path: Path) -> None:
    """Operators without attention; kernels from the host; greedy, and its own decisions."""
    assert not Provenance.of(imported(tmp_path)).attends
    eager = Provenance.of(on_a100(tmp_path / "eager", graphs="eager"))
    assert eager.attends
    assert eager.is_eager
    assert not eager.is_synthetic
    assert (eager.script, eager.sampling) == (None, None)
    assert eager.timed_form == eager.trace_form == FULL
    assert eager.precision == Precision(weights="fp16", activations="fp16")


def test_a_scripted_recording_has_two_forms(tmp_path: Path) -> None:
    """The heads that were timed, and those whose decisions were followed; where they differ it says
    so.
    """
    script = {
        "profile": "other",
        "model": "a model",
        "n_layers": 4,
        "map": {"2": 4},
        "form": {"shortlist": 20, "dtype": "int8"},
    }
    profile = on_a100(tmp_path / "p")
    origin = Provenance.of(replace(profile, manifest={**profile.manifest, "scripted": script}))
    assert (origin.timed_form, origin.trace_form) == (FULL, HeadForm(shortlist=20, dtype="int8"))
    assert origin.script is not None
    assert origin.script.startswith(
        "scripted: decisions of other (a model, 4 layers), its heads 2 at 4, "
    )
    assert origin.script.endswith("would decide otherwise")


def test_sampling_is_put_into_words(tmp_path: Path) -> None:
    sampling = {"temperature": 0.8, "top_k": 40, "top_p": None, "seed": 3}
    profile = on_a100(tmp_path / "p")
    origin = Provenance.of(replace(profile, manifest={**profile.manifest, "sampling": sampling}))
    assert origin.sampling == "sampled at temperature 0.8, top-k 40, seed 3"


def test_it_does_not_change(tmp_path: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        Provenance.of(on_a100(tmp_path / "p")).is_eager = True  # type: ignore[misc]


def test_nothing_is_carried_between_a_cpu_and_an_accelerator(tmp_path: Path) -> None:
    """Both ways. A recording is of a CPU where it says so, whatever its owner's file is called; a
    machine that nobody knows may be anything.
    """
    demo, here = Provenance.of(read_profile(DEMO_PROFILE)), find_device("a100-80gb-sxm")
    assert demo.on_cpu
    assert "AMD EPYC is a CPU and a100-80gb-sxm is none" in str(demo.mismatch(here))
    assert demo.mismatch(CPU) is None
    assert "say architecture" in str(demo.mismatch(replace(CPU, architecture="other")))
    with pytest.raises(DeviceError, match=r"predict datasheet --to a100-80gb-sxm --trace .*demo"):
        demo.check_carries_to(here)
    gpu = Provenance.of(on_a100(tmp_path / "p"))
    assert not gpu.on_cpu
    assert "a100-80gb-sxm is no CPU and box is one" in str(gpu.mismatch(CPU))
    assert gpu.mismatch(find_device("h100-sxm")) is None
    unknown = Provenance.of(synthetic_profile(tmp_path / "unknown"))
    assert unknown.mismatch(CPU) is unknown.mismatch(here) is None
