"""Number formats: what they are called, and what changes with them."""

from __future__ import annotations

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.memory import WEIGHT_BYTES
from adadecode.sim.hardware.precision import Precision, ordinary, rate_notes


def test_pytorchs_names_are_known() -> None:
    """A manifest holds these names."""
    assert Precision.of("bfloat16", "bfloat16") == Precision(weights="bf16", activations="bf16")


def test_narrow_weights_leave_the_rest_as_it_is() -> None:
    """Heads, LM head, cache and activations in FP32, only the layers' matrices in INT4; a wide
    format is that of everything.
    """
    narrow = Precision.of("int4", "float32")
    assert (narrow.weights, narrow.activations, narrow.narrow) == ("int4", "fp32", True)
    cost = narrow.cost(find_model("llama-2-7b"))
    assert (cost.weight_bytes, cost.head_bytes, cost.cache_bytes, cost.activation_bytes) == (
        WEIGHT_BYTES["int4"],
        4.0,
        4.0,
        4.0,
    )
    assert Precision.of("fp16", "fp32") == Precision(weights="fp16", activations="fp16")
    assert (str(narrow), str(Precision.of("fp16", "fp32"))) == ("int4 weights, fp32 else", "fp16")


@pytest.mark.parametrize(
    ("name", "activations"), [("int3", "fp16"), ("int8", "int8"), ("fp16", "complex64")]
)
def test_an_unknown_format_is_refused(name: str, activations: str) -> None:
    """Also one that products do not run in."""
    with pytest.raises(DeviceError, match="no dtype"):
        Precision.of(name, activations)


@pytest.mark.parametrize(
    ("device", "dtype"), [("h100-sxm", "bf16"), ("t4", "fp16"), ("tpu-v4", "bf16")]
)
def test_a_device_runs_models_in_16_bits(device: str, dtype: str) -> None:
    """It takes BF16 where it has that."""
    assert ordinary(find_device(device)) == dtype


@pytest.mark.parametrize("name", ["h100-sxm", "h200-sxm", "a100-80gb-sxm", "t4"])
def test_fp32_without_tensor_cores_is_noted(name: str) -> None:
    """Their FP32 peak is that of plain cores, and a gaming card has more of it."""
    (note,) = rate_notes(find_device(name), "fp32")
    assert note.startswith(f"FP32 on {name} is counted without tensor cores, at the ")
    assert "TF32 is not used" in note


@pytest.mark.parametrize(
    ("name", "dtype"), [("h100-sxm", "bf16"), ("t4", "fp16"), ("rtx-4090", "fp32")]
)
def test_what_runs_at_its_usual_rate_needs_no_note(name: str, dtype: str) -> None:
    assert rate_notes(find_device(name), dtype) == ()


def test_the_note_goes_with_the_latencies_but_not_into_their_notes() -> None:
    """It is printed for people, and is no part of what was assumed."""
    found = datasheet_latencies(
        find_model("llama-2-7b"),
        find_device("h100-sxm"),
        dtype="fp32",
        max_context=64,
        max_tokens=2,
        depths=(8,),
    )
    assert found.rate_notes == rate_notes(find_device("h100-sxm"), "fp32")
    assert not set(found.rate_notes) & set(found.notes)
