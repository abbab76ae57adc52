"""A law for the seconds of work on any GPU, of few constants, and how it carries what was measured.

A piece of work takes some thousand cycles for each kernel, its bytes at a share of the bandwidth,
and the part of its multiplications that is not hidden behind them::

    seconds = kernels * cycles / clock + bytes / (share * bandwidth) + unhidden * flops / peak

The bandwidth is the datasheet's, times what benchmarks that were run alike on many devices say of
this one (`sustained_ratio`): those that read, as products of few rows do. Nothing need be measured
on the target. What the source showed beside the law is carried only between devices of one
architecture, which run the same kernels (docs/decisions/0050). `benchmarks.transfer_law` fits the
constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, prod

from adadecode.profiles.catalog.devices import Device
from adadecode.sim.hardware.cost_model import Cost
from adadecode.sim.hardware.roofline import ORDINARY_CLOCK, Interval

READING = {"read_bandwidth": 0.965, "dot_bandwidth": 0.933}
"""Share of its datasheet's bandwidth that a device reaches in each benchmark that reads alone.

The medians of the devices of the catalogue that went through it.
"""

WRITING = {"lbm_bandwidth": 0.796}
"""The same of a benchmark that writes as much as it reads, which counts where none that reads does.

Memory that turns from reading to writing and back loses time that weights, which are only read, do
not: an H200 falls behind an H100 by 9 % there, and by 2 % in reading.
"""

SAME_ARCHITECTURE = 0.6
"""Power of measured over lawful seconds that is carried between devices of one architecture.

Slope of what one version of a library showed beside the law on what the other one showed, product
by product on the same H100 (0.57): kernels of one architecture are not more alike. Between
architectures the slope is 0.2 and carrying it helps nothing.
"""

SPREAD, SIBLING_SPREAD = 0.115, 0.06
"""Half intervals, in logarithms, to a device of another architecture and to one of the same.

The second is measured: of devices that were left out of the fit in turn, the error of the worst one
that nine in ten of its layers keep within. It knows two devices only, an H100 and an H200.

The first is a margin that is kept. The same measure gave it for the law as it was before it told
benchmarks that read from those that write, and gives 0.089 now. It is the worst of four devices,
the new law was chosen with the errors of these four in view, and no fifth one can show that a
narrower interval covers what it says.
"""


@dataclass(frozen=True, kw_only=True)
class TransferLaw:
    """The constants of the law.

    Attributes:
        cycles: Cycles of the boost clock that a kernel takes besides its bytes: to start, to fill
            its pipelines and to end.
        share: Share of the bandwidth that products of few rows read at.
        unhidden: Share of the time to multiply that is not hidden behind reading.
    """

    cycles: float
    share: float
    unhidden: float

    def seconds(self, cost: Cost, device: Device, dtype: str) -> float:
        """Return the seconds of some work on a device.

        Args:
            cost: The work.
            device: The device.
            dtype: The format that products run in.

        Raises:
            DeviceError: If the device lacks the format.
        """
        return (
            cost.kernels * self.cycles / (device.clock_hz or ORDINARY_CLOCK)
            + cost.bytes / (self.share * sustained_ratio(device) * device.bandwidth)
            + self.unhidden * cost.flops / device.peak(dtype)
        )


EVERY_DEVICE = TransferLaw(cycles=7611, share=0.870, unhidden=0.241)
"""Fitted on all devices."""

LEFT_OUT: Mapping[str, TransferLaw] = {
    "a100-80gb-sxm": TransferLaw(cycles=7543, share=0.871, unhidden=0.257),
    "h100-sxm": TransferLaw(cycles=7835, share=0.864, unhidden=0.228),
    "h200-sxm": TransferLaw(cycles=7501, share=0.874, unhidden=0.272),
    "rtx-4090": TransferLaw(cycles=7612, share=0.868, unhidden=0.192),
}
"""Fitted without one device, which these predict: no device is predicted from its own times.

Products of 8 MB and more and 1 to 64 rows, each table with the same weight: AIConfigurator's for
A100, H100 and H200 under vLLM 0.14 and 0.24 (BF16), LLMServingSim's for an RTX 4090 under vLLM 0.19
(BF16) and Vidur's for A100 and H100 (FP16).
"""


def sustained_ratio(device: Device) -> float:
    """Return how a device's bandwidth compares with what others make of their datasheets'.

    The geometric mean over the benchmarks of `READING` that it went through, of those of `WRITING`
    where it went through none; 1 where neither is known.
    """
    for shares in (READING, WRITING):
        measured = ((getattr(device, name), usual) for name, usual in shares.items())
        ratios = [one.value / device.bandwidth / usual for one, usual in measured if one]
        if ratios:
            return float(prod(ratios) ** (1 / len(ratios)))
    return 1.0


def law_for(target: Device) -> TransferLaw:
    """Return the constants that predict a device: those fitted without it."""
    return LEFT_OUT.get(target.name, EVERY_DEVICE)


@dataclass(frozen=True, kw_only=True)
class LawCarrier:
    """Carries the seconds of work to another device by the law.

    Attributes:
        source: The device they were measured on.
        target: The device they are carried to.
        source_dtype: Format that products ran in on the source.
        target_dtype: Format that they will run in on the target.

    Raises:
        DeviceError: If a device lacks its format.
    """

    source: Device
    target: Device
    source_dtype: str
    target_dtype: str

    def carry(self, seconds: float, cost: Cost, target_cost: Cost) -> Interval:
        """Return the seconds of some work on the target.

        Args:
            seconds: Measured on the source.
            cost: The cost of the work on the source.
            target_cost: The cost of the work on the target.
        """
        if self.source.name == self.target.name and cost == target_cost:
            return Interval.exactly(seconds)
        law = law_for(self.target)
        middle, spread = law.seconds(target_cost, self.target, self.target_dtype), SPREAD
        if self.source.architecture == self.target.architecture:
            beside = seconds / law.seconds(cost, self.source, self.source_dtype)
            middle, spread = middle * beside**SAME_ARCHITECTURE, SIBLING_SPREAD
        return Interval(low=middle * exp(-spread), middle=middle, high=middle * exp(spread))
