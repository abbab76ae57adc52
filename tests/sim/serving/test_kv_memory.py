"""Blocks of keys and values that memory leaves, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adadecode.profiles.catalog.devices import find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.serving.kv_memory import kv_blocks_of_memory

SHAPE, CARD = find_model("llama-3.1-8b"), find_device("a100-80gb-sxm")
SIZES: dict[str, Any] = {"block_size": 16, "max_batched_tokens": 2048, "max_num_seqs": 256}


@pytest.mark.parametrize(
    ("n_devices", "columns", "keys"), [(1, 14336, 8), (2, 7168, 4), (4, 3584, 2), (16, 896, 1)]
)
@pytest.mark.parametrize(("cache", "width"), [(None, 2), ("fp8", 1)])
def test_each_device_holds_its_share_of_weights_keys_and_values(
    n_devices: int, columns: int, keys: int, cache: str | None, width: int
) -> None:
    """32 heads of 128 numbers, 8 of keys: of 16 devices two hold the same keys."""
    queries = 32 * 128 // n_devices
    matrices = 2 * 4096 * queries + 2 * 4096 * 128 * keys + 3 * 4096 * columns
    norms, embedding = 2 * 4096, 128_256 // n_devices * 4096
    weights = 2 * (32 * (matrices + norms) + 2 * embedding + 4096)
    # The hidden states of 2,048 tokens, and 256 rows of all logits as they come and twice in FP32.
    step = 2048 * 4096 * 2 + 256 * 128_256 * (2 + 4 + 4)
    block = 16 * 32 * 2 * 128 * keys * width
    room = 0.9 * 0.965 * CARD.memory_bytes - weights - step - 2**30
    precision = Precision.of("bf16", "bf16", cache)
    found = kv_blocks_of_memory(SHAPE, CARD, precision, **SIZES, n_devices=n_devices)
    assert found == int(room // block)


def test_a_model_too_large_for_one_device_fits_on_four() -> None:
    """141 GB of weights, of 80 GiB each."""
    shape, precision = find_model("llama-3.1-70b"), Precision.of("bf16", "bf16")
    with pytest.raises(DeviceError, match="on a100-80gb-sxm"):
        kv_blocks_of_memory(shape, CARD, precision, **SIZES)
    assert kv_blocks_of_memory(shape, CARD, precision, **SIZES, n_devices=4) > 1000
    with pytest.raises(DeviceError, match="on each of 4 x rtx-4090"):
        kv_blocks_of_memory(shape, find_device("rtx-4090"), precision, **SIZES, n_devices=4)


@pytest.mark.parametrize(
    ("shape", "n_devices"), [(SHAPE, 3), (replace(SHAPE, layers=(SHAPE.alike,) * 32), 2)]
)
def test_shares_that_nobody_knows_are_refused(shape: ModelShape, n_devices: int) -> None:
    """Three devices cannot share 32 heads, and layers that are described one by one may be any."""
    message = f"how {n_devices} devices share the layers of llama-3.1-8b is not known.*--kv-blocks"
    with pytest.raises(DeviceError, match=message):
        kv_blocks_of_memory(shape, CARD, Precision.of("bf16", "bf16"), **SIZES, n_devices=n_devices)
