"""What a machine can do at most, and at least, as far as a manifest tells which one it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.recorded import recorded_device
from adadecode.profiles.manifest import section

FASTER, SLOWER = 4.0, 100.0
"""How many times as fast as its datasheet a device may be (its caches are, and clocks rise), and
how many times as slow (formats without kernels of their own)."""

PAUSE = 0.1
"""Seconds that a piece of work on a GPU may take besides: kernels are started one by one."""

_CYCLE, _HERTZ = 2048, 6e9
"""FLOPs of one thread in a cycle, with a matrix unit of its own, and cycles a second."""


class MachineLimits(NamedTuple):
    """What a machine can do.

    Attributes:
        words: What it is, for messages.
        bandwidth: Bytes/s that it reads at most, beyond its caches.
        cached: Bytes that its caches hold at most.
        flops: FLOP/s at most.
        least_bandwidth: Bytes/s at least.
        least_flops: FLOP/s at least.
        pause: Seconds that a piece of work may take besides.
    """

    words: str
    bandwidth: float
    cached: float
    flops: float
    least_bandwidth: float = 1e7
    least_flops: float = 1e7
    pause: float = 1.0


def limits_of_device(device: Device, processes: int = 1, pause: float = PAUSE) -> MachineLimits:
    """Return the limits of a device of the catalogue.

    Args:
        device: The device.
        processes: How many of them share the work.
        pause: Seconds that a piece of work may take besides.
    """
    return MachineLimits(
        words=f"{processes} x {device.title}" if processes > 1 else device.title,
        bandwidth=FASTER * device.bandwidth * processes,
        cached=float(device.l2_bytes or 2**30) * processes,
        flops=FASTER * max(device.peak_flops.values()) * processes,
        least_bandwidth=device.bandwidth / SLOWER,
        least_flops=min(device.peak_flops.values()) / SLOWER,
        pause=pause,
    )


def machine_limits(manifest: Mapping[str, Any]) -> MachineLimits:
    """Return the limits of the machine that a manifest describes.

    It is a device of the catalogue, a processor with some threads, or any device.
    """
    hardware = section(manifest, "hardware")
    before = section(hardware, "before")
    threads = section(before, "host").get("threads")
    if before.get("device") == "cpu" and threads:
        return MachineLimits(
            f"a processor of {threads} threads", 1e13, 2.0**32, threads * _CYCLE * _HERTZ
        )
    device = recorded_device(manifest)
    if device is None:
        return MachineLimits("any device", 1e15, 2.0**36, 1e19)
    return limits_of_device(device, int(section(hardware, "placing").get("processes") or 1))
