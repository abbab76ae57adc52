"""The joules of many designs on one device, with their ends, and over vanilla's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.hardware.power import POWER, drawn_over_vanilla, over_vanilla

Amounts = NDArray[np.float64]


def device_joules(
    limit: float | None,
    measured: float | None,
    seconds: Mapping[str, Amounts],
    vanilla: Mapping[str, float],
    work: tuple[Amounts, Amounts],
    plain: tuple[float, float],
    drawn: tuple[Mapping[str, Amounts], Mapping[str, float]] | None = None,
) -> dict[str, Amounts]:
    """Return the columns of energy of `adadecode.sim.prediction.evaluator.COLUMNS`.

    Args:
        limit: Power limit of the device in watts; None where it is unknown.
        measured: Mean power that was measured there; None where it was not.
        seconds: Seconds per token of the designs by corner. Without "low" and "high" nobody knows
            how far they may be off, and neither energy nor ratio has ends.
        vanilla: Vanilla's by corner; only "middle" is needed where it was measured.
        work: FLOPs and bytes per token of the designs; NaN where they are unknown.
        plain: Vanilla's.
        drawn: Joules per token of the designs by end, and of vanilla, at the middle of the
            latencies, where the power of kernels was measured.
    """
    middle = seconds["middle"]
    unknown = np.full(len(middle), np.nan)
    low, high = seconds.get("low", unknown), seconds.get("high", unknown)
    if drawn is not None:
        ours, vanillas = drawn
        ratio = drawn_over_vanilla(ours, vanillas, seconds, vanilla)
        fast, slow = low / middle, high / middle
        return _columns(ours["low"] * fast, ours["middle"], ours["high"] * slow, ratio)
    if measured is not None:
        ratio = {end: each / vanilla["middle"] for end, each in _ends(low, middle, high)}
        return _columns(measured * low, measured * middle, measured * high, ratio)
    if limit is None or np.isnan(work[0]).any():
        ratio = dict.fromkeys(("low", "middle", "high"), unknown)
        return _columns(unknown, unknown, unknown, ratio)
    joules = {end: POWER[end].joules(limit, each, *work) for end, each in _ends(low, middle, high)}
    corners = {corner: vanilla.get(corner, vanilla["middle"]) for corner in seconds}
    ratio = over_vanilla(limit, seconds, corners, work, plain)
    if "low" not in seconds:
        ratio |= {"low": unknown, "high": unknown}
    return _columns(joules["low"], joules["middle"], joules["high"], ratio)


def _ends(low: Amounts, middle: Amounts, high: Amounts) -> tuple[tuple[str, Amounts], ...]:
    return (("low", low), ("middle", middle), ("high", high))


def _columns(
    low: Amounts, middle: Amounts, high: Amounts, ratio: Mapping[str, Amounts]
) -> dict[str, Amounts]:
    return {
        "energy_j_per_token": middle,
        "energy_low": low,
        "energy_high": high,
        "energy_over_vanilla": ratio["middle"],
        "energy_over_low": ratio["low"],
        "energy_over_high": ratio["high"],
    }
