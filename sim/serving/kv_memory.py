"""How many blocks of keys and values fit beside a model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DeviceError, ShapeError
from adadecode.sim.hardware.fit import fit
from adadecode.sim.hardware.kernel_tables.model import share_of
from adadecode.sim.hardware.memory import GIB, STATE_BYTES, Deployment, activation_peak
from adadecode.sim.hardware.precision import Precision

UTILISATION = 0.9
"""Share of a device's memory that vLLM takes by default (``gpu_memory_utilization``)."""


def kv_blocks_of_memory(
    shape: ModelShape,
    device: Device,
    precision: Precision,
    *,
    block_size: int,
    max_batched_tokens: int,
    max_num_seqs: int,
    utilisation: float = UTILISATION,
    heads: tuple[int, ...] = (),
    n_devices: int = 1,
) -> int:
    """Return how many blocks fit beside weights, heads, activations and what the runtime takes.

    vLLM counts what is left after one step of the most tokens, with logits of the most sequences.
    Layers with a window count as if they kept all positions. Of several devices that share every
    layer each holds its share of the matrices, keys and values; norms, the matrices of exit heads
    and a step's hidden states and logits are whole on each.

    Args:
        shape: The model.
        device: The device.
        precision: Number formats.
        block_size: Positions of a block.
        max_batched_tokens: Tokens of a step.
        max_num_seqs: Sequences that run at once.
        utilisation: Share of the device's memory that the server takes.
        heads: Depths of the exit heads that it holds.
        n_devices: How many devices share every layer of a server.

    Raises:
        DeviceError: If not two blocks fit: one is reserved; or if nobody knows what each of several
            devices holds.
    """
    part = _held_by_each(shape, n_devices)
    run = Deployment(shape=part, dtype=precision.weights, context=1, heads=heads)
    found = fit(run, device)
    step = activation_peak(
        replace(part, vocab_size=shape.vocab_size),
        max_batched_tokens,
        logits=max_num_seqs,
        width=run.activation_bytes,
    )
    taken = found.memory.weights + found.memory.heads + found.memory.reserve + step
    numbers = sum(count * layer.cache for layer, count in part.kinds.items())
    each = block_size * numbers * STATE_BYTES[precision.cache or precision.activations]
    room = utilisation * found.capacity - taken
    blocks = int(room // each) if each else 0
    if blocks < 2:
        server = device.name if n_devices == 1 else f"each of {n_devices} x {device.name}"
        raise DeviceError(
            f"{shape.name} leaves no room for keys and values on {server}: of "
            f"{utilisation:.0%} of {found.capacity / GIB:.1f} GiB, weights and a step of "
            f"{max_batched_tokens:,} tokens take {taken / GIB:.1f} GiB; give --kv-blocks, fewer "
            "tokens or sequences at once, or narrower weights with --dtype"
        )
    return blocks


def _held_by_each(shape: ModelShape, n_devices: int) -> ModelShape:
    """Return what each device of a server holds of a model. Raises DeviceError if nobody knows."""
    if n_devices == 1:
        return shape
    with suppress(ShapeError):
        if not shape.layers:
            return share_of(shape, n_devices)
    raise DeviceError(
        f"how {n_devices} devices share the layers of {shape.name} is not known, nor what memory "
        "they leave on each: give --kv-blocks"
    )
