"""Number formats of a model as it runs: the bytes of its numbers, and the peak that its products run at."""

from __future__ import annotations

from dataclasses import dataclass

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DeviceError
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.memory import WEIGHT_BYTES

TORCH = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""Formats as a profile's manifest names them."""

WIDE = tuple(TORCH.values())
"""Formats that products run in; narrower weights are widened to one of them on the way."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """weights: of the layers' matrices (``adadecode.sim.hardware.memory.WEIGHT_BYTES``). activations: of all else, and of products (one of ``WIDE``)."""

    weights: str
    activations: str

    @classmethod
    def of(cls, name: str, activations: str) -> Precision:
        """The format of this name, ours or PyTorch's; ``activations`` stay as they are where it is of weights alone. Raises DeviceError."""
        weights, wide = TORCH.get(name, name), TORCH.get(activations, activations)
        if weights not in WEIGHT_BYTES or wide not in WIDE:
            wrong, known = (
                (name, WEIGHT_BYTES) if weights not in WEIGHT_BYTES else (activations, WIDE)
            )
            raise DeviceError(f"no dtype {wrong!r}: wanted one of {', '.join(known)}")
        return cls(weights=weights, activations=weights if weights in WIDE else wide)

    @property
    def narrow(self) -> bool:
        """Whether weights alone are quantised."""
        return self.weights != self.activations

    def cost(self, shape: ModelShape, form: HeadForm = FULL) -> ModelCost:
        """What work costs of a model of this shape, with heads of this form. Raises ShapeError for a shortlist longer than the vocabulary."""
        wide = WEIGHT_BYTES[self.activations]
        return ModelCost(
            shape=shape,
            weight_bytes=WEIGHT_BYTES[self.weights],
            head_bytes=wide,
            cache_bytes=wide,
            activation_bytes=wide,
            form=form,
        )

    def __str__(self) -> str:
        return f"{self.weights} weights, {self.activations} else" if self.narrow else self.weights


def ordinary(device: Device) -> str:
    """The format a model runs in on this device where nobody says: 16 bits, BF16 where it has that."""
    return next((dtype for dtype in ("bf16", "fp16", "fp32") if dtype in device.peak_flops), "bf16")
