"""Whether a model with exit heads fits on a device, and what would make it fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.errors import DeviceError
from adadecode.sim.hardware.memory import (
    GIB,
    WEIGHT_BYTES,
    Deployment,
    Memory,
    packs_experts_alone,
    peak_memory,
)

VISIBLE = 0.965
"""Share of the marketed capacity that a program can use: the lowest of these reports.

5.79 of 6 GiB (https://github.com/facebookresearch/meshrcnn/issues/92), 7.76 of 8
(https://github.com/sshan-zhao/GASDA/issues/19), 11.76 of 12
(https://github.com/TencentARC/PhotoMaker/issues/47), 39.5 of 40.
"""

VISIBLE_ECC = 0.91
"""The same share where ECC takes a sixteenth of GDDR memory: the lower of two reports.

14.56 of 16 GiB on a T4 (https://github.com/Zheng-Chong/CatVTON/issues/133), 44.53 of 48 on an L40S
(https://github.com/Wan-Video/Wan2.1/issues/205).
"""

ECC_GDDR = ("a40", "a10g", "l4", "l40s", "t4")
"""Devices of the catalogue that ship with ECC on GDDR memory.

https://thundergolfer.com/blog/nvidia-gpu-memory-capacity lists most of them.
"""

MOST_POSITIONS = 2**24
"""Where the search for the longest context ends, for a model without a limit of its own.

It is far beyond any cache that is held today.
"""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Whether a model fits on one device.

    Attributes:
        run: The model as it is to be run.
        device: The device.
        memory: What it takes.
        capacity: Bytes of the device that a program can use.
    """

    run: Deployment
    device: Device
    memory: Memory
    capacity: float

    @property
    def fits(self) -> bool:
        """Whether the model, with its heads and cache, fits into the device's memory."""
        return self.memory.total <= self.capacity

    @cached_property
    def longest_context(self) -> int:
        """The most positions with which it fits, up to those of the model; 0 where not one does.

        Found by bisection: every part grows with the context, or stays.
        """
        low, high = 0, self.run.shape.max_positions or MOST_POSITIONS
        while low < high:
            middle = (low + high + 1) // 2
            prompt = None if self.run.prompt is None else min(self.run.prompt, middle)
            if peak_memory(replace(self.run, context=middle, prompt=prompt)).total <= self.capacity:
                low = middle
            else:
                high = middle - 1
        return low

    @cached_property
    def dtype_that_fits(self) -> str | None:
        """The widest narrower format with which it fits.

        None where it fits as it is, or nothing helps. FP8 counts only on a device that computes in
        it, and of the two 16-bit formats the one it has.
        """
        if self.fits:
            return None
        sixteen = "bf16" if "bf16" in self.device.peak_flops else "fp16"
        for dtype in (
            sixteen,
            *(["fp8"] if "fp8" in self.device.peak_flops else []),
            "int8",
            "int4",
        ):
            narrower = WEIGHT_BYTES[dtype] < WEIGHT_BYTES[self.run.dtype]
            if narrower and peak_memory(replace(self.run, dtype=dtype)).total <= self.capacity:
                return dtype
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before acting on the result, a sentence each."""
        run, shape = self.run, self.run.shape
        notes = []
        if run.dtype in ("bf16", "fp16", "fp8") and run.dtype not in self.device.peak_flops:
            notes.append(
                f"the datasheet of {self.device.name} gives no {run.dtype} peak: "
                "it may compute in another dtype, or slowly"
            )
        if shape.windows and run.context > shape.windows[0] + run.n_tokens:
            windows = " and ".join(map(str, shape.windows))
            notes.append(
                f"keys and values are counted up to the window of {windows}: "
                "an engine that keeps all takes more"
            )
        folded = [layer for layer in shape.kinds if layer.expanded]
        if folded:
            times = max(layer.expanded / layer.cache for layer in folded)
            notes.append(
                "keys and values are counted as the latent that they are made of: an engine that "
                f"unfolds them, as transformers and this one do, takes {times:.3g} times as much"
            )
        if WEIGHT_BYTES[run.dtype] < run.activation_bytes:
            notes.append(
                f"only the experts are {run.dtype}: all else keeps 16 bits"
                if packs_experts_alone(shape, run.dtype)
                else f"only the layers' matrices are {run.dtype}: "
                "embeddings, LM head and norms keep 16 bits"
            )
        return tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the document printed by ``--json``, bytes as whole numbers."""
        run = self.run
        return {
            "model": run.shape.name,
            "device": self.device.name,
            "fits": self.fits,
            "bytes": {name: round(value) for name, value in asdict(self.memory).items()},
            "total_bytes": round(self.memory.total),
            "capacity_bytes": round(self.capacity),
            "free_bytes": round(self.capacity) - round(self.memory.total),
            "longest_context": self.longest_context,
            "dtype": run.dtype,
            "dtype_that_fits": self.dtype_that_fits,
            "heads": list(run.heads),
            "head_form": run.form.label,
            "context": run.context,
            "prompt": run.filled,
            "sequences": run.sequences,
            "notes": list(self.notes),
        }


def capacity(device: Device, usable: float | None = None) -> float:
    """Return the bytes of a device that a program can use.

    Args:
        device: The device.
        usable: Share of the marketed capacity, where the user knows better.

    Raises:
        DeviceError: If the share does not lie in (0, 1].
    """
    if usable is None:
        usable = VISIBLE_ECC if device.name in ECC_GDDR else VISIBLE
    if not 0 < usable <= 1:
        raise DeviceError(
            f"the usable share of {device.name}'s memory is {usable}: "
            "wanted a number above 0, 1 at most"
        )
    return device.memory_bytes * usable


def fit(run: Deployment, device: Device, usable: float | None = None) -> Fit:
    """Return whether a model fits on a device, and what would.

    Args:
        run: The model as it is to be run.
        device: The device.
        usable: As for `capacity`.

    Raises:
        DeviceError: If the usable share makes no sense.
    """
    return Fit(run=run, device=device, memory=peak_memory(run), capacity=capacity(device, usable))


def check_fits(run: Deployment, device: Device, usable: float | None = None) -> Fit:
    """Raise DeviceError where a model does not fit on a device, with what would fit.

    Args:
        run: The model as it is to be run.
        device: The device.
        usable: As for `capacity`.

    Returns:
        The result where it fits.

    Raises:
        DeviceError: If it does not fit.
    """
    result = fit(run, device, usable)
    if result.fits:
        return result
    parts = ", ".join(
        f"{name} {value / GIB:.2f}" for name, value in asdict(result.memory).items() if value
    )
    ways = [f"weights in {result.dtype_that_fits}"] if result.dtype_that_fits else []
    if result.longest_context:
        ways.append(f"a context of {result.longest_context}")
    raise DeviceError(
        f"{run.shape.name} does not fit on {device.name}: it takes "
        f"{result.memory.total / GIB:.2f} GiB ({parts}), {result.capacity / GIB:.2f} are there: "
        f"take {' or '.join(ways) or 'a smaller model or a larger device'}"
    )
