"""Check the figures of a device.

No figure may be absurd, and no sparse peak or peak without tensor cores may stand in the place of a
dense tensor peak.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NamedTuple

from adadecode.profiles.errors import DeviceError

if TYPE_CHECKING:
    from adadecode.profiles.catalog.devices import Device

DTYPES = ("fp32", "fp16", "fp16_acc16", "bf16", "fp8", "int8")
ALIKE = ("lbm_bandwidth", "read_bandwidth", "dot_bandwidth")
"""Bandwidths that one benchmark measured on every device that has them."""

# Memory never beats its datasheet; the margin is for a rounded one.
_BANDWIDTH_MARGIN = 1.02
# Matmuls do, where a card boosts beyond the clock of its datasheet: 15 % on an RTX 5090, 8 % on an
# RTX 3090. A sparse peak is 100 % away.
_FLOPS_MARGIN = 1.2
_CLOCK_MARGIN = 0.1
_RATIO_MARGIN = 0.05


class Bounds(NamedTuple):
    """What a figure lies within on any device, from a single board to a whole wafer."""

    low: float
    high: float
    unit: str


BOUNDS = {
    "memory_bytes": Bounds(2**20, 2**50, "bytes"),
    "bandwidth": Bounds(1e8, 1e17, "bytes/s"),
    "sm_count": Bounds(1, 1e7, "multiprocessors"),
    "clock_hz": Bounds(1e6, 1e11, "Hz"),
    "l2_bytes": Bounds(2**10, 2**45, "bytes"),
    "tdp_watts": Bounds(0.1, 1e6, "watts"),
}
"""By attribute of a `Device`. A board with a slow bus moves 1e9 bytes/s, a wafer of SRAM 2e16; ten
times less and five times more is a wrong unit."""

PEAK = Bounds(1e8, 1e19, "FLOP/s")
"""A small processor does 1e9, a wafer 1e17."""


class _Rates(NamedTuple):
    """Dense FLOPs per multiprocessor and cycle.

    Attributes:
        tensor: FP16 on tensor cores, adding up in FP32.
        vector: FP32 without tensor cores.
    """

    tensor: int
    vector: int


_ARCHITECTURES = {
    "volta": _Rates(1024, 128),
    "turing": _Rates(1024, 128),
    "ampere": _Rates(2048, 128),
    "ampere-ga10x": _Rates(1024, 256),
    "ampere-geforce": _Rates(512, 256),
    "ada": _Rates(1024, 256),
    "ada-geforce": _Rates(512, 256),
    "hopper": _Rates(4096, 256),
    "blackwell": _Rates(8192, 256),
    "blackwell-geforce": _Rates(512, 256),
    "blackwell-rtx-pro": _Rates(1024, 256),
    "cdna3": _Rates(2048, 256),
    "cdna4": _Rates(4096, 256),
}
CPU = "cpu"
"""The architecture of a processor, whose own threads do the work and start it."""

_UNCHECKED = (CPU, "tpu", "other")
_WITHOUT_BF16 = ("volta", "turing")


def check_device(device: Device) -> None:
    """Raise DeviceError for a figure that is missing, absurd or of another kind than wanted."""
    _check_figures(device)
    _check_sustained(device)
    _check_peaks(device)


def checked_text(what: str, text: object) -> str:
    """Return a text that is not empty. Raises DeviceError for anything else."""
    if not isinstance(text, str) or not text.strip():
        raise DeviceError(f"{what} is {text!r}: wanted a text that others can look up")
    return text


def check_figure(figure: str, value: object, bounds: Bounds) -> None:
    """Raise DeviceError for anything but a number within bounds, which are never below 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise DeviceError(f"{figure} is {value!r}: wanted a finite number above 0")
    if not bounds.low <= value <= bounds.high:
        got = f"{value:.4g}" if value <= sys.float_info.max else "larger than any"
        raise DeviceError(
            f"{figure} is {got}: wanted {bounds.low:g}..{bounds.high:g} {bounds.unit}, which no "
            "device that decodes a text lies outside of: check the unit"
        )


def check_spread(figure: str, spread: object) -> None:
    """Raise DeviceError for anything but a finite number that is not below 0."""
    if (
        isinstance(spread, bool)
        or not isinstance(spread, (int, float))
        or not 0 <= spread < math.inf
    ):
        raise DeviceError(
            f"the spread of {figure} is {spread!r}: wanted how far its fastest and slowest repeat "
            "lie apart over the median, like 0.05"
        )


def _check_figures(device: Device) -> None:
    """Raise DeviceError for an empty text, an unknown dtype, or a number that is not above 0."""
    for key in ("title", "vendor", "datasheet"):
        checked_text(f"{device.name}.{key}", getattr(device, key))
    if device.architecture not in (*_ARCHITECTURES, *_UNCHECKED):
        names = ", ".join((*_ARCHITECTURES, *_UNCHECKED))
        raise DeviceError(
            f"{device.name}: architecture {device.architecture!r} is none of {names}: "
            "take 'other' if it is another one"
        )
    if not device.peak_flops:
        raise DeviceError(
            f"{device.name} has no peak: wanted dense FLOP/s for one or more of {', '.join(DTYPES)}"
        )
    for dtype in (*device.peak_flops, *device.sustained_flops):
        if dtype not in DTYPES:
            raise DeviceError(
                f"{device.name}: {dtype!r} is no dtype: wanted one of {', '.join(DTYPES)}"
            )
    for key, bounds in BOUNDS.items():
        if getattr(device, key) is not None:
            check_figure(f"{device.name}.{key}", getattr(device, key), bounds)
    if device.sm_count is not None and not isinstance(device.sm_count, int):
        raise DeviceError(f"{device.name}.sm_count is {device.sm_count!r}: wanted a whole number")
    for dtype, flops in device.peak_flops.items():
        check_figure(f"{device.name}.peak.{dtype}", flops, PEAK)


def _check_sustained(device: Device) -> None:
    """Raise DeviceError for a measured figure without a source, or above the datasheet."""
    bandwidths = {"bandwidth": device.sustained_bandwidth} | {
        name: getattr(device, name) for name in ALIKE
    }
    pairs = [
        (what, one, device.bandwidth, _BANDWIDTH_MARGIN, BOUNDS["bandwidth"])
        for what, one in bandwidths.items()
        if one
    ]
    pairs += [
        (dtype, one, device.peak(dtype), _FLOPS_MARGIN, PEAK)
        for dtype, one in device.sustained_flops.items()
    ]
    for what, measured, ceiling, margin, bounds in pairs:
        figure = f"{device.name}.sustained.{what}"
        check_figure(figure, measured.value, bounds)
        checked_text(f"the source of {figure}", measured.source)
        check_spread(figure, measured.spread)
        if measured.value > margin * ceiling:
            raise DeviceError(
                f"{figure} is {measured.value:.4g}, above the datasheet's {ceiling:.4g}: "
                "check the units and the datasheet figure"
            )


def _check_peaks(device: Device) -> None:
    """Raise DeviceError for a sparse peak in the place of a dense one, or one without tensor cores.

    It is the product of multiprocessors, clock and FLOPs per cycle.
    """
    rates = _ARCHITECTURES.get(device.architecture)
    if rates is None:
        return
    if device.sm_count is None or device.clock_hz is None:
        raise DeviceError(
            f"{device.name} lacks sm_count or clock_hz: "
            f"with architecture {device.architecture!r} its peaks are checked against them"
        )
    cycles = device.sm_count * device.clock_hz
    for dtype in ("fp16", "bf16"):
        _check_near(
            device,
            dtype,
            cycles * rates.tensor,
            _CLOCK_MARGIN,
            "multiprocessors x clock x tensor FLOPs per cycle",
        )
    _check_near(
        device,
        "fp32",
        cycles * rates.vector,
        _CLOCK_MARGIN,
        "multiprocessors x clock x FP32 FLOPs per cycle",
    )
    if "bf16" in device.peak_flops and device.architecture in _WITHOUT_BF16:
        raise DeviceError(
            f"{device.name} is given a bf16 peak, but {device.architecture} has no bf16 tensor "
            "cores: leave it out"
        )
    known = next((dtype for dtype in ("fp16", "bf16") if dtype in device.peak_flops), None)
    if known is None:
        return
    for dtype in ("fp16_acc16", "fp8"):
        _check_near(device, dtype, 2 * device.peak(known), _RATIO_MARGIN, f"twice its {known} peak")
    full = device.peak_flops.get("fp16_acc16", device.peak(known))
    _check_near(
        device,
        "int8",
        2 * full,
        _RATIO_MARGIN,
        f"twice its {known} peak at full rate (fp16_acc16 where that is given)",
    )


def _check_near(device: Device, dtype: str, wanted: float, margin: float, why: str) -> None:
    got = device.peak_flops.get(dtype, wanted)
    if abs(got / wanted - 1) <= margin:
        return
    hint = "check it"
    if got > 1.7 * wanted:
        hint = (
            "this looks like the peak with sparsity, or of FP16 sums (which is fp16_acc16): "
            "give the dense one of FP32 sums"
        )
    elif got < 0.6 * wanted:
        hint = "this looks like the peak without tensor cores"
    raise DeviceError(
        f"{device.name}: {dtype} peak is {got:.4g} FLOP/s, wanted about {wanted:.4g} ({why}): "
        f"{hint}"
    )
