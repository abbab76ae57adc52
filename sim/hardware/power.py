"""The joules that work takes on a device: what it draws awake, and what bytes and FLOPs add.

A device draws a share of its power limit as long as it is at work or waits for its host, each byte
from or to memory and each FLOP takes some energy besides, and the whole never exceeds the limit.
Where the constants come from: docs/decisions/0053.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.catalog.devices import Device

Amount = float | NDArray[np.float64]
"""Seconds, FLOPs, bytes or joules: of one piece of work, or of many in an array."""


@dataclass(frozen=True, kw_only=True)
class PowerModel:
    """What a device draws.

    Attributes:
        awake_share: Share of the power limit that it draws without moving a byte.
        per_byte: Joules for a byte from or to memory.
        per_flop: Joules for a FLOP in a tensor core.
    """

    awake_share: float
    per_byte: float
    per_flop: float

    def joules(
        self, watts: float, seconds: Amount, flops: Amount, moved: Amount
    ) -> NDArray[np.float64]:
        """Return the joules of some work.

        Args:
            watts: Power limit of the device.
            seconds: How long the work takes.
            flops: Its FLOPs.
            moved: Its bytes from and to memory.
        """
        drawn = (
            self.awake_share * watts * np.asarray(seconds)
            + np.asarray(moved) * self.per_byte
            + np.asarray(flops) * self.per_flop
        )
        joules: NDArray[np.float64] = np.minimum(watts * np.asarray(seconds), drawn)
        return joules


POWER: Mapping[str, PowerModel] = {
    "low": PowerModel(awake_share=0.04, per_byte=8 * 3.9e-12, per_flop=0.1e-12),
    "middle": PowerModel(awake_share=0.2, per_byte=50e-12, per_flop=0.4e-12),
    "high": PowerModel(awake_share=0.5, per_byte=120e-12, per_flop=1.2e-12),
}
"""The least, what is expected and the most that a device draws.

- Awake: at the least what is drawn doing nothing at all: 17 of 425 W on an RTX 4090 D
  (https://github.com/hongping-zh/ecocompute), 17.5 of 350 W on an RTX 3090 and 62 of 400 W on an
  A100 (https://github.com/chuyishang/inference-energy). In the middle the least that an H200 was
  seen to draw in decoding, 137 of 700 W (arXiv 2605.11999). At the most an assumption, for small
  cards, whose fans and memory take a larger share.
- A byte: at the least 3.9 pJ a bit, the DRAM of HBM2 alone (O'Connor et al., MICRO 2017). In the
  middle what an H200 draws at most in decoding (300 W, arXiv 2605.11999) beyond that, at the
  bandwidth that it sustains, is 39 pJ; an H100 with one sequence (300 W, ML.ENERGY) gives 60. At
  the most twice that: GDDR6X has 7.25 pJ a bit in the memory alone
  (https://www.micron.com/products/ultra-bandwidth-solutions), and the way through a chip on top.
- A FLOP: at the least half of the 0.22 pJ that FP16 was measured to add on an RTX 3090
  (https://github.com/bang001/gpupower0701). At the most all of an A100's power at its peak
  (400 W at 312 TFLOP/s). In the middle between. Decoding hardly depends on it.
"""


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Joules, or a ratio of joules, between two ends.

    Attributes:
        low: The lower end.
        middle: What is expected.
        high: The upper end.
    """

    low: float
    middle: float
    high: float


def energy_bounds(
    device: Device, seconds: float, flops: float, bytes_moved: float
) -> Energy | None:
    """Bound the joules of work by `POWER`; None where the device's watts are unknown.

    Args:
        device: The device.
        seconds: How long the work takes.
        flops: Its FLOPs.
        bytes_moved: Its bytes from and to memory.
    """
    if device.tdp_watts is None:
        return None
    ends = {
        end: float(power.joules(device.tdp_watts, seconds, flops, bytes_moved))
        for end, power in POWER.items()
    }
    return Energy(**ends)


def over_vanilla(
    watts: float,
    ours: Mapping[str, Amount],
    plain: Mapping[str, float],
    our_work: tuple[Amount, Amount],
    plain_work: tuple[float, float],
) -> dict[str, NDArray[np.float64]]:
    """Return the joules of some work over vanilla's, at the ends ``low``, ``middle``, ``high``.

    Both are on one device, so that what is uncertain about it is the same for both: the ends go
    over what it may draw and the corners of its latencies, never a different one for each.

    Args:
        watts: Power limit of the device.
        ours: Seconds of the work by corner of the latencies.
        plain: Seconds of vanilla by corner.
        our_work: FLOPs and bytes of the work.
        plain_work: FLOPs and bytes of vanilla.
    """
    ratios = {
        (end, corner): power.joules(watts, seconds, *our_work)
        / power.joules(watts, plain[corner], *plain_work)
        for end, power in POWER.items()
        for corner, seconds in ours.items()
    }
    return {
        "low": np.minimum.reduce(list(ratios.values())),
        "middle": ratios["middle", "middle"],
        "high": np.maximum.reduce(list(ratios.values())),
    }


def drawn_over_vanilla(
    ours: Mapping[str, Amount],
    plain: Mapping[str, Amount],
    our_seconds: Mapping[str, Amount],
    plain_seconds: Mapping[str, float],
) -> dict[str, NDArray[np.float64]]:
    """Return joules over vanilla's, at the ends ``low``, ``middle``, ``high``, by measured power.

    Args:
        ours: Joules of the work by end, at the middle of its latencies.
        plain: Those of vanilla.
        our_seconds: Seconds of the work by corner of the latencies.
        plain_seconds: Those of vanilla.
    """
    ratios = {
        (end, corner): (np.asarray(drawn) * seconds / our_seconds["middle"])
        / (np.asarray(plain[end]) * plain_seconds[corner] / plain_seconds["middle"])
        for end, drawn in ours.items()
        for corner, seconds in our_seconds.items()
    }
    return {
        "low": np.minimum.reduce(list(ratios.values())),
        "middle": ratios["middle", "middle"],
        "high": np.maximum.reduce(list(ratios.values())),
    }
