"""The number format a model runs in: the bytes of its numbers, and the peak of its products."""

from __future__ import annotations

from dataclasses import dataclass

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DeviceError
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.memory import STATE_BYTES, WEIGHT_BYTES, packs_experts_alone

TORCH = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""Names of formats in the manifest of a profile."""

WIDE = tuple(TORCH.values())
"""Formats that products run in. Narrower weights are widened to one of them on the way."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The number format of a model.

    Attributes:
        weights: Format of the layers' matrices, of `adadecode.sim.hardware.memory.WEIGHT_BYTES`.
        activations: Format of all else and of products, one of ``WIDE``.
        cache: Format of keys and values, of `adadecode.sim.hardware.memory.STATE_BYTES`; that of
            the activations where None.
    """

    weights: str
    activations: str
    cache: str | None = None

    @classmethod
    def of(cls, name: str, activations: str, cache: str | None = None) -> Precision:
        """Return a format by its name.

        Args:
            name: Our name or PyTorch's. A format of weights alone leaves activations as they are.
            activations: Format of the activations.
            cache: Format of keys and values, where it is another one.

        Raises:
            DeviceError: If a format is unknown.
        """
        weights, wide = TORCH.get(name, name), TORCH.get(activations, activations)
        if weights not in WEIGHT_BYTES or wide not in WIDE:
            wrong, known = (
                (name, WEIGHT_BYTES) if weights not in WEIGHT_BYTES else (activations, WIDE)
            )
            raise DeviceError(f"no dtype {wrong!r}: wanted one of {', '.join(known)}")
        kept = None if cache is None else TORCH.get(cache, cache)
        if kept is not None and kept not in STATE_BYTES:
            raise DeviceError(
                f"no dtype {cache!r} for keys and values: wanted one of {', '.join(STATE_BYTES)}"
            )
        activations = weights if weights in WIDE else wide
        return cls(
            weights=weights, activations=activations, cache=None if kept == activations else kept
        )

    def with_weights(self, name: str | None) -> Precision:
        """Return it with weights in another format; itself where none is named.

        Raises:
            DeviceError: If the format is unknown.
        """
        return self if name is None else self.of(name, self.activations, self.cache)

    @property
    def narrow(self) -> bool:
        """Whether only the weights are quantised."""
        return self.weights != self.activations

    def cost(
        self, shape: ModelShape, form: HeadForm = FULL, regime: Regime = Regime.ENGINE
    ) -> ModelCost:
        """Return the cost of work of a model in this format.

        Args:
            shape: The model.
            form: Form of its exit heads.
            regime: How far its kernels are fused.

        Raises:
            ShapeError: If a shortlist is longer than the vocabulary.
        """
        wide = WEIGHT_BYTES[self.activations]
        return ModelCost(
            shape=shape,
            weight_bytes=WEIGHT_BYTES[self.weights],
            other_bytes=wide if packs_experts_alone(shape, self.weights) else None,
            head_bytes=wide,
            cache_bytes=wide if self.cache is None else STATE_BYTES[self.cache],
            activation_bytes=wide,
            form=form,
            regime=regime,
        )

    def __str__(self) -> str:
        words = f"{self.weights} weights, {self.activations} else" if self.narrow else self.weights
        return words if self.cache is None else f"{words}, keys and values in {self.cache}"


_FAR_BELOW = 2.5
"""A rate this many times below that of narrower formats is worth a note; half of it is usual."""


def ordinary(device: Device) -> str:
    """Return the format a model usually runs in on a device: 16 bits, BF16 where it has that."""
    return next((dtype for dtype in ("bf16", "fp16", "fp32") if dtype in device.peak_flops), "bf16")


def rate_notes(device: Device, dtype: str) -> tuple[str, ...]:
    """Return a note where products run far below what a device does in narrower formats.

    The FP32 peak of a datasheet is the rate without tensor cores, which need TF32 or a narrower
    format. A workstation card may have more of it than a large accelerator.

    Args:
        device: The device.
        dtype: The format that products run in.
    """
    peaks = device.peak_flops
    tensor = max((peaks[name] for name in ("bf16", "fp16") if name in peaks), default=0.0)
    if dtype != "fp32" or "fp32" not in peaks or tensor < _FAR_BELOW * peaks["fp32"]:
        return ()
    note = (
        f"FP32 on {device.name} is counted without tensor cores, at the {peaks['fp32'] / 1e12:.0f} "
        f"TFLOP/s of its datasheet (16 bits: {tensor / 1e12:.0f}): TF32 is not used, and a card "
        "with a higher plain FP32 rate comes out ahead where products decide"
    )
    return (note,)
