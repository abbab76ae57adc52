"""Seconds of single pieces of work on a device that was not there: what was measured on one is carried to another.

A piece of work takes a fixed time for each kernel it starts, which goes with the clock, and a time for its bytes and FLOPs, which goes with bandwidth and
peak. The second part is carried as an *efficiency*: how far the measured device stayed behind its own roofline, so far stays the
other. What the two devices' bandwidths are to each other is not one number: datasheets and public benchmarks disagree by some
per cent, so the middle of what was measured alike is taken, and their spread goes into the interval (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import geometric_mean

from adadecode.profiles.catalog.devices import ALIKE, Device, Measured
from adadecode.sim.hardware.cost_model import Cost

KERNEL_CYCLES = 6000
"""Clock cycles that a kernel takes besides its bytes and FLOPs. From published operator times (Vidur): products of several sizes, seconds against
bytes, leave 4.3 us on an A100 at 1.41 GHz."""

ORDINARY_CLOCK = 1.5e9
"""Hz, of a device whose clock the catalogue does not have."""

SPREAD = 0.10
"""What carrying an efficiency may miss, either way: kernels are chosen anew on another device."""

LAUNCH_BOUND = 2.0
"""An eager GPU recording this many times as long as its device needs was waiting for its host, and waits as long on any device."""

ORDINARY = 0.9
"""Share of its sustained bandwidth or FLOP/s that a device reaches besides its kernels' own time, where nothing was measured. From published operator
times: products read at 0.93 of a triad on an A100, 0.96 on an H100, 0.84 on an A40."""

SUSTAINED = 0.89
"""Share of its datasheet's bandwidth that a device sustains where nobody measured it: the median of the 16 devices of the catalogue with both (0.73 to 0.96)."""

UNMEASURED = 0.25
"""What a time from a datasheet alone may miss, either way."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure, and the ends between which the truth is expected nine times in ten: seconds, or target over source."""

    low: float
    middle: float
    high: float

    @classmethod
    def exactly(cls, figure: float) -> Interval:
        """A figure that was measured: no interval."""
        return cls(low=figure, middle=figure, high=figure)

    def __add__(self, other: Interval) -> Interval:
        """Of two times one after the other, as if they were wrong together."""
        return Interval(
            low=self.low + other.low, middle=self.middle + other.middle, high=self.high + other.high
        )


def bandwidth_ratio(source: Device, target: Device) -> Interval:
    """Bandwidth of target / source.

    The middle is that of the benchmarks that both went through alike (``adadecode.profiles.catalog.devices.ALIKE``), of the datasheets where there is none; the
    ends are those of everything published, also of benchmarks that were not the same one on both.
    """
    alike = _ratios(
        (_value(getattr(target, name)), _value(getattr(source, name))) for name in ALIKE
    )
    others = _ratios(
        [
            (target.bandwidth, source.bandwidth),
            (_value(target.sustained_bandwidth), _value(source.sustained_bandwidth)),
        ]
    )
    return Interval(
        low=min(alike + others),
        middle=geometric_mean(alike or others[:1]),
        high=max(alike + others),
    )


def peak_ratio(source: Device, target: Device, source_dtype: str, target_dtype: str) -> Interval:
    """Dense FLOP/s of target / source, by datasheet and by large products. Raises DeviceError for a dtype that one lacks."""
    measured = (
        _value(target.sustained_flops.get(target_dtype)),
        _value(source.sustained_flops.get(source_dtype)),
    )
    ratios = _ratios([(target.peak(target_dtype), source.peak(source_dtype)), measured])
    return Interval(low=min(ratios), middle=geometric_mean(ratios), high=max(ratios))


def _ratios(pairs: Iterable[tuple[float | None, float | None]]) -> list[float]:
    """Target / source; pairs that lack one are left out."""
    return [target / source for target, source in pairs if target and source]


def _value(measured: Measured | None) -> float | None:
    return None if measured is None else measured.value


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """What a device could do at best: bytes/s and FLOP/s; clock in Hz, None where unknown."""

    bandwidth: float
    flops: float
    clock: float | None

    @classmethod
    def of(cls, device: Device, dtype: str) -> Roofline:
        """By what was measured on the device, by its datasheet where nothing was. Raises DeviceError for a dtype it lacks."""
        peak = device.sustained_flops.get(dtype)
        return cls(
            bandwidth=_value(device.sustained_bandwidth) or SUSTAINED * device.bandwidth,
            flops=peak.value if peak else device.peak(dtype),
            clock=device.clock_hz,
        )

    def seconds(self, cost: Cost) -> float:
        """The least time for this work, kernels left out: it reads while it multiplies."""
        return max(cost.bytes / self.bandwidth, cost.flops / self.flops)

    def seconds_apart(self, cost: Cost) -> float:
        """The same where it reads first and multiplies then."""
        return cost.bytes / self.bandwidth + cost.flops / self.flops

    def kernels(self, cost: Cost) -> float:
        """What starting and ending its kernels takes."""
        return cost.kernels * KERNEL_CYCLES / (self.clock or ORDINARY_CLOCK)

    def scaled(self, bandwidth: float, flops: float, clock: float | None) -> Roofline:
        """A device so many times as good, with another clock."""
        return Roofline(bandwidth=self.bandwidth * bandwidth, flops=self.flops * flops, clock=clock)


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Carries seconds of single pieces of work from ``source`` to ``target``; dtypes are those that each multiplies in. eager: how the source was driven.

    Raises DeviceError where a device lacks the dtype.
    """

    source: Device
    target: Device
    source_dtype: str
    target_dtype: str
    eager: bool = False

    def carry(self, seconds: float, cost: Cost, target_cost: Cost) -> Interval:
        """Seconds of work that cost so much on the source, for what it costs on the target.

        The ends: the fastest and the slowest target that is published, SPREAD, and reading and multiplying at once on one device and one after
        the other on the other. Work that waits for its host waits as long, on a device that needs no more.
        """
        if self.source.name == self.target.name and cost == target_cost:
            return Interval.exactly(seconds)
        here, (fast, middle, slow) = self._rooflines
        if self.waits(seconds, cost):
            least, ordinary, most = (
                max(seconds, _bare(there, target_cost)) for there in (fast, middle, slow)
            )
            return Interval(low=least * (1 - SPREAD), middle=ordinary, high=most * (1 + SPREAD))
        fixed = min(here.kernels(cost), 0.9 * seconds)
        kernels, rest = fixed * middle.kernels(target_cost) / here.kernels(cost), seconds - fixed
        best, apart = here.seconds(cost), here.seconds_apart(cost)
        return Interval(
            low=(kernels + rest * fast.seconds(target_cost) / apart) * (1 - SPREAD),
            middle=kernels + rest * middle.seconds(target_cost) / best,
            high=(kernels + rest * slow.seconds_apart(target_cost) / best) * (1 + SPREAD),
        )

    def waits(self, seconds: float, cost: Cost) -> bool:
        """Whether this work was waiting for its host on the source (launch-bound): an eager recording, far from what the device needs."""
        return self.eager and seconds > LAUNCH_BOUND * _bare(self._rooflines[0], cost)

    @cached_property
    def _rooflines(self) -> tuple[Roofline, tuple[Roofline, ...]]:
        """The source's, and the target's at the fast end, in the middle and at the slow end of what is published."""
        here = Roofline.of(self.source, self.source_dtype)
        bandwidth = bandwidth_ratio(self.source, self.target)
        peak = peak_ratio(self.source, self.target, self.source_dtype, self.target_dtype)
        ends = ("high", "middle", "low")
        return here, tuple(
            here.scaled(getattr(bandwidth, end), getattr(peak, end), self.target.clock_hz)
            for end in ends
        )


def estimate(cost: Cost, device: Device, dtype: str) -> Interval:
    """Seconds of work that nobody measured anywhere: kernels, and bytes and FLOPs at ordinary efficiency. Raises DeviceError for a dtype it lacks."""
    middle = _bare(Roofline.of(device, dtype), cost)
    return Interval(low=middle * (1 - UNMEASURED), middle=middle, high=middle * (1 + UNMEASURED))


def _bare(roof: Roofline, cost: Cost) -> float:
    """What a device needs for this work in the ordinary way."""
    return roof.kernels(cost) + roof.seconds(cost) / ORDINARY
