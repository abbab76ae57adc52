"""Carry the seconds of single pieces of work from the device they were measured on to another.

A piece of work takes a fixed time for each kernel it starts, which goes with the clock, and a time
for its bytes and FLOPs, which goes with bandwidth and peak. The second part is carried as an
*efficiency*: the other device stays as far behind its roofline as the measured one did. The ratio
of two devices' bandwidths is not one number: datasheets and public benchmarks disagree by some per
cent. So the middle of what was measured alike is taken, and the spread goes into the interval
(docs/decisions/0013).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import geometric_mean

from adadecode.profiles.catalog.devices import ALIKE, Device, Measured
from adadecode.sim.hardware.cost_model import Cost
from adadecode.sim.hardware.launch_regime import LIGHT, LIGHT_DOUBT

KERNEL_CYCLES = 6000
"""Clock cycles that a kernel takes besides its bytes and FLOPs.

From published operator times (Vidur): products of several sizes, seconds against bytes, leave 4.3
us on an A100 at 1.41 GHz.
"""

ORDINARY_CLOCK = 1.5e9
"""Clock in Hz of a device whose clock the catalogue does not have."""

SPREAD = 0.10
"""Relative error of a carried efficiency, either way: another device chooses other kernels."""

LAUNCH_BOUND = 2.0
"""Eager work that takes this many times what its device needs was waiting for its host.

It waits as long on any device.
"""

ORDINARY = 0.9
"""Share of its sustained bandwidth or FLOP/s that a device reaches, where nothing was measured.

The kernels' own time is left out. From published operator times: products read at 0.93 of a triad
on an A100, 0.96 on an H100, 0.84 on an A40.
"""

SUSTAINED = 0.89
"""Share of its datasheet's bandwidth that a device sustains, where it was not measured.

The median of the 16 devices of the catalogue with both (0.73 to 0.96).
"""

UNMEASURED = 0.25
"""Relative error of a time from a datasheet alone, either way."""

UNMEASURED_CPU = 4.0
"""The same for a CPU, as a factor either way.

What its own threads spend on starting work is in no datasheet. Layers of the two models that were
recorded on one (`profiles/recorded`) took 1.0 to 4.1 times such an estimate.
"""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure, and the ends between which the truth is expected nine times in ten.

    Attributes:
        low: The low end.
        middle: The figure that is expected: seconds, or a ratio of target over source.
        high: The high end.
    """

    low: float
    middle: float
    high: float

    @classmethod
    def exactly(cls, figure: float) -> Interval:
        """Return a figure that was measured, and so has no interval."""
        return cls(low=figure, middle=figure, high=figure)

    def __add__(self, other: Interval) -> Interval:
        """Add two times, one after the other, as if they were wrong together."""
        return Interval(
            low=self.low + other.low, middle=self.middle + other.middle, high=self.high + other.high
        )

    def at_least(self, other: Interval) -> Interval:
        """Return the larger of two times that pass at once, end by end."""
        return Interval(
            low=max(self.low, other.low),
            middle=max(self.middle, other.middle),
            high=max(self.high, other.high),
        )


def bandwidth_ratio(source: Device, target: Device) -> Interval:
    """Return the bandwidth of target / source.

    The middle is the ratio in benchmarks that were the same on both
    (`adadecode.profiles.catalog.devices.ALIKE`), or of the datasheets where there is none. The ends
    are those of everything published, also of benchmarks that were not the same on both, and of
    what scattered where it was measured.
    """
    scatter = _scatter(source, target, source.sustained_bandwidth, target.sustained_bandwidth)
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
        low=min(alike + others) / scatter,
        middle=geometric_mean(alike or others[:1]),
        high=max(alike + others) * scatter,
    )


def peak_ratio(source: Device, target: Device, source_dtype: str, target_dtype: str) -> Interval:
    """Return the dense FLOP/s of target / source, by datasheet and by large products.

    The ends take in what scattered where it was measured.

    Raises:
        DeviceError: If one of the devices lacks its dtype.
    """
    there = target.sustained_flops.get(target_dtype)
    here = source.sustained_flops.get(source_dtype)
    ratios = _ratios(
        [(target.peak(target_dtype), source.peak(source_dtype)), (_value(there), _value(here))]
    )
    scatter = _scatter(source, target, here, there)
    return Interval(
        low=min(ratios) / scatter, middle=geometric_mean(ratios), high=max(ratios) * scatter
    )


def _scatter(
    source: Device, target: Device, here: Measured | None, there: Measured | None
) -> float:
    """Return by what factor a ratio may be off for how far the repeats of both figures scattered.

    On one device both are the same figure, and their ratio is sure.
    """
    return 1.0 if source.name == target.name else _scattered(here) * _scattered(there)


def _scattered(measured: Measured | None) -> float:
    """Return within what factor of its median every repeat lies, as far as their spread tells."""
    return 1.0 if measured is None else 1.0 + measured.spread


def scatter_notes(*devices: Device) -> tuple[str, ...]:
    """Return a note for each device whose own benchmark scattered beyond `SPREAD`."""
    worst = {
        device.name: max(
            one.spread
            for one in (device.sustained_bandwidth, *device.sustained_flops.values())
            if one is not None
        )
        for device in devices
        if device.sustained_bandwidth or device.sustained_flops
    }
    return tuple(
        f"what was measured on {name} scattered by up to {spread:.0%}, which the interval takes "
        "in: measure it again while nothing else runs there (adadecode-device)"
        for name, spread in worst.items()
        if spread > SPREAD
    )


def _ratios(pairs: Iterable[tuple[float | None, float | None]]) -> list[float]:
    """Return target / source of each pair; pairs that lack one are left out."""
    return [target / source for target, source in pairs if target and source]


def _value(measured: Measured | None) -> float | None:
    return None if measured is None else measured.value


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """The best that a device can do.

    Attributes:
        bandwidth: Bytes/s.
        flops: FLOP/s.
        clock: Clock in Hz; None where unknown.
    """

    bandwidth: float
    flops: float
    clock: float | None

    @classmethod
    def of(cls, device: Device, dtype: str) -> Roofline:
        """Return the roofline of a device: as measured, or by its datasheet where nothing was.

        Raises:
            DeviceError: If the device lacks the dtype.
        """
        peak = device.sustained_flops.get(dtype)
        return cls(
            bandwidth=_value(device.sustained_bandwidth) or SUSTAINED * device.bandwidth,
            flops=peak.value if peak else device.peak(dtype),
            clock=device.clock_hz,
        )

    def seconds(self, cost: Cost) -> float:
        """Return the least time for some work without its kernels, reading while multiplying."""
        return max(cost.bytes / self.bandwidth, cost.flops / self.flops)

    def seconds_apart(self, cost: Cost) -> float:
        """Return the same time where it reads first and then multiplies."""
        return cost.bytes / self.bandwidth + cost.flops / self.flops

    def kernels(self, cost: Cost) -> float:
        """Return the time to start and end the kernels of some work."""
        return self.kernels_seconds(cost.kernels + LIGHT * cost.small_kernels)

    def kernels_seconds(self, count: float) -> float:
        """Return the time to start and end so many kernels."""
        return count * KERNEL_CYCLES / (self.clock or ORDINARY_CLOCK)

    def scaled(self, bandwidth: float, flops: float, clock: float | None) -> Roofline:
        """Return the roofline of a device with these multiples of it and another clock."""
        return Roofline(bandwidth=self.bandwidth * bandwidth, flops=self.flops * flops, clock=clock)


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Carries the seconds of single pieces of work from one device to another.

    Attributes:
        source: The device they were measured on.
        target: The device they are carried to.
        source_dtype: Format that products ran in on the source.
        target_dtype: Format that they will run in on the target.
        eager: Whether the host of the source started kernel by kernel.
        hides_host: Whether the host of the target does not, so that nothing waits for it there.

    Raises:
        DeviceError: If a device lacks its dtype.
    """

    source: Device
    target: Device
    source_dtype: str
    target_dtype: str
    eager: bool = False
    hides_host: bool = False

    def carry(self, seconds: float, cost: Cost, target_cost: Cost) -> Interval:
        """Return the seconds of a piece of work on the target.

        The ends take the fastest and the slowest target that is published, `SPREAD`, and reading
        and multiplying at once on one device and one after the other on the other. Work that waits
        for its host waits as long on a device that needs no more.

        On a CPU that starts piece by piece, a share that nobody knows is what its threads spend on
        starting, and stays. The ends hold all of it and none of it, and the middle is between.

        Where the target hides its host, what waited for one says only that the source's device took
        no longer. It is estimated, and may take up to all of that time. Where the target has more
        or fewer small kernels, `LIGHT_DOUBT` of their time is uncertain besides.

        Args:
            seconds: Measured on the source.
            cost: The cost of the work on the source.
            target_cost: The cost of the work on the target.
        """
        waits = self.waits(seconds, cost)
        hidden = waits and self.hides_host
        if self.source.name == self.target.name and cost == target_cost and not hidden:
            return Interval.exactly(seconds)
        here, (fast, middle, slow) = self._rooflines
        if waits and not hidden:
            least, ordinary, most = (
                max(seconds, _bare(there, target_cost)) for there in (fast, middle, slow)
            )
            return Interval(low=least * (1 - SPREAD), middle=ordinary, high=most * (1 + SPREAD))
        fixed = min(here.kernels(cost), 0.9 * seconds)
        kernels, rest = fixed * middle.kernels(target_cost) / here.kernels(cost), seconds - fixed
        best, apart = here.seconds(cost), here.seconds_apart(cost)
        doubt = LIGHT_DOUBT * self._other_kernels(cost, target_cost, middle)
        low = (kernels + rest * fast.seconds(target_cost) / apart) * (1 - SPREAD)
        work = Interval(
            low=max(low - doubt, low / 2),
            middle=kernels + rest * middle.seconds(target_cost) / best,
            high=(kernels + rest * slow.seconds_apart(target_cost) / best) * (1 + SPREAD) + doubt,
        )
        if hidden:
            least, ordinary = _bare(fast, target_cost), _bare(middle, target_cost)
            return Interval(
                low=min(least * (1 - UNMEASURED), work.high),
                middle=min(ordinary, work.high),
                high=work.high,
            )
        if not self.starts_itself:
            return work
        return Interval(
            low=min(work.low, seconds * (1 - SPREAD)),
            middle=math.sqrt(work.middle * seconds),
            high=max(work.high, seconds * (1 + SPREAD)),
        )

    @staticmethod
    def _other_kernels(cost: Cost, target_cost: Cost, there: Roofline) -> float:
        """Return the seconds of the kernels that work has on one side for its regime alone."""
        return there.kernels_seconds(LIGHT * abs(target_cost.small_kernels - cost.small_kernels))

    @property
    def starts_itself(self) -> bool:
        """Whether the source was a CPU that started piece by piece: its own host."""
        return self.eager and self.source.is_cpu

    def waits(self, seconds: float, cost: Cost) -> bool:
        """Return whether work was waiting for its host on the source (launch-bound).

        It was where an eager recording took far longer than the device needs. A CPU has no other
        host.
        """
        if not self.eager or self.source.is_cpu:
            return False
        return seconds > LAUNCH_BOUND * _bare(self._rooflines[0], cost)

    @cached_property
    def _rooflines(self) -> tuple[Roofline, tuple[Roofline, ...]]:
        """The source's roofline, and the target's at the fast end, middle and slow end."""
        here = Roofline.of(self.source, self.source_dtype)
        bandwidth = bandwidth_ratio(self.source, self.target)
        peak = peak_ratio(self.source, self.target, self.source_dtype, self.target_dtype)
        ends = ("high", "middle", "low")
        return here, tuple(
            here.scaled(getattr(bandwidth, end), getattr(peak, end), self.target.clock_hz)
            for end in ends
        )


def estimate(cost: Cost, device: Device, dtype: str) -> Interval:
    """Estimate the seconds of work that was measured nowhere.

    Kernels take their cycles, bytes and FLOPs their time at ordinary efficiency. The ends take in
    how far the device's own benchmarks scattered.

    Raises:
        DeviceError: If the device lacks the dtype.
    """
    roof = Roofline.of(device, dtype)
    reads = _scattered(device.sustained_bandwidth)
    multiplies = _scattered(device.sustained_flops.get(dtype))
    fast = roof.scaled(reads, multiplies, roof.clock)
    slow = roof.scaled(1 / reads, 1 / multiplies, roof.clock)
    low, high = 1 - UNMEASURED, 1 + UNMEASURED
    if device.is_cpu:
        low, high = 1 / UNMEASURED_CPU, UNMEASURED_CPU
    return Interval(
        low=_bare(fast, cost) * low, middle=_bare(roof, cost), high=_bare(slow, cost) * high
    )


def unmeasured_words(device: Device) -> str:
    """Return in words how far an estimate for a device may be off."""
    if device.is_cpu:
        return f"within a factor of {UNMEASURED_CPU:g} either way"
    return f"within {UNMEASURED:.0%} either way"


def _bare(roof: Roofline, cost: Cost) -> float:
    """Return what a device needs for some work at ordinary efficiency."""
    return roof.kernels(cost) + roof.seconds(cost) / ORDINARY
