"""Where a design stops paying on devices that differ in bandwidth alone.

FLOPs, kernels and the host stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

from adadecode.profiles.catalog.devices import ALIKE, Device, Measured
from adadecode.profiles.latency import LatencyTable
from adadecode.sim.core.design import Design
from adadecode.sim.limits.time_breakdown import Billing
from adadecode.sim.replay.compiled import CompiledReplay

FACTORS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""Factors on the bandwidth.

They go as far as an efficiency is held anywhere (`adadecode.sim.hardware.carried_latency.REACH`).
"""


def with_bandwidth(device: Device, factor: float) -> Device:
    """Return a device with another bandwidth, by its datasheet and by every benchmark.

    Args:
        device: The device.
        factor: How many times its bandwidth. The result has a name of its own: no such device
            exists.
    """

    def scaled(measured: Measured | None) -> Measured | None:
        return None if measured is None else replace(measured, value=factor * measured.value)

    benchmarks: dict[str, Any] = {
        name: scaled(getattr(device, name)) for name in ("sustained_bandwidth", *ALIKE)
    }
    return replace(
        device,
        name=f"{device.name}, bandwidth x {factor:g}",
        bandwidth=factor * device.bandwidth,
        **benchmarks,
    )


def over_bandwidths(
    replay: CompiledReplay,
    prompts: Sequence[int],
    design: Design,
    device: Device,
    latencies: Callable[[Device], LatencyTable],
) -> tuple[dict[float, float], list[float]]:
    """Find where a design stops paying.

    Args:
        replay: The text, compiled.
        prompts: Which prompts to replay.
        design: The design.
        device: The device whose bandwidth is changed.
        latencies: Returns the latencies of any device like this one.

    Returns:
        The speedup at each of FACTORS, and every factor between them at which it is 1.

    Raises:
        LatencyError: If a latency is not known.
    """

    @cache
    def speedup(factor: float) -> float:
        table = latencies(with_bandwidth(device, factor))
        return float(
            Billing.of(replay, prompts, table, design.cap + 1).bill([design]).speedups()[0]
        )

    curve = {factor: speedup(factor) for factor in FACTORS}
    above = np.array(list(curve.values())) > 1
    crossings = []
    for place in np.flatnonzero(above[1:] != above[:-1]):
        ends = (math.log(FACTORS[place]), math.log(FACTORS[place + 1]))
        crossings.append(math.exp(brentq(lambda log: speedup(math.exp(log)) - 1, *ends, xtol=1e-3)))
    return curve, crossings
