"""Where a device turns from reading weights to arithmetic."""

from __future__ import annotations

from adadecode.profiles.catalog.devices import Device
from adadecode.sim.hardware.memory import WEIGHT_BYTES
from adadecode.sim.hardware.precision import Precision


def ridge_tokens(device: Device, precision: Precision) -> float | None:
    """Return the tokens of a step from which on products take longer than reading their weights.

    A weight is read once and takes two FLOPs a token, so that it is peak FLOP/s x bytes of a
    weight / (2 x bytes/s), of the datasheet.

    Args:
        device: The device.
        precision: Number formats of the model.

    Returns:
        The tokens; None where the datasheet gives no peak in the format of the products.
    """
    if precision.activations not in device.peak_flops:
        return None
    flops = device.peak(precision.activations)
    return flops * WEIGHT_BYTES[precision.weights] / (2 * device.bandwidth)
