"""Latencies on a device that was not there: what was measured on one is carried to another.

A piece of work takes a fixed time for each kernel it starts, which goes with the clock, and a time for its bytes and FLOPs, which goes with bandwidth and
peak. The second part is carried as an *efficiency*: how far the measured device stayed behind its own roofline, so far stays the
other. What the two devices' bandwidths are to each other is not one number: datasheets and public benchmarks disagree by some
per cent, so the middle of them is taken, and their spread goes into the interval (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median

from profiles.devices import Device, Measured
from sim.cost import Cost, ModelCost
from sim.pricing import Latencies

KERNEL_CYCLES = 6000
"""Clock cycles that a kernel takes besides its bytes and FLOPs. From published operator times (Vidur): products of several sizes, seconds against
bytes, leave 4.3 us on an A100 at 1.41 GHz."""

ORDINARY_CLOCK = 1.5e9
"""Hz, of a device whose clock the catalogue does not have."""

SPREAD = 0.10
"""What carrying an efficiency may miss, either way: kernels are chosen anew on another device."""

LAUNCH_BOUND = 2.0
"""An eager GPU recording this many times as long as its device needs was waiting for its host, and waits as long on any device."""

ORDINARY = 0.8
"""Share of its sustained bandwidth or FLOP/s that a device reaches in decoding, where nothing was measured: published layers reach 0.75 to 0.95."""

UNMEASURED = 0.25
"""What a time from a datasheet alone may miss, either way."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure, and the ends between which the truth is expected nine times in ten: seconds, or target over source."""

    low: float
    middle: float
    high: float

    @classmethod
    def of_ratios(cls, pairs: Iterable[tuple[float | None, float | None]]) -> Interval:
        """Target / source by figures of the same kind, the middle of what is published and its ends; pairs that lack one are left out."""
        ratios = [target / source for target, source in pairs if target and source]
        return cls(low=min(ratios), middle=median(ratios), high=max(ratios))


def bandwidth_ratio(source: Device, target: Device) -> Interval:
    """Bandwidth of target / source, by datasheet and by every benchmark that both went through."""
    benchmarks = ("sustained_bandwidth", "read_bandwidth", "lbm_bandwidth")
    measured = [(_value(getattr(target, name)), _value(getattr(source, name))) for name in benchmarks]
    return Interval.of_ratios([(target.bandwidth, source.bandwidth), *measured])


def peak_ratio(source: Device, target: Device, source_dtype: str, target_dtype: str) -> Interval:
    """Dense FLOP/s of target / source, by datasheet and by large products. Raises DeviceError for a dtype that one lacks."""
    measured = (_value(target.sustained_flops.get(target_dtype)), _value(source.sustained_flops.get(source_dtype)))
    return Interval.of_ratios([(target.peak(target_dtype), source.peak(source_dtype)), measured])


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
            bandwidth=_value(device.sustained_bandwidth) or _value(device.lbm_bandwidth) or device.bandwidth,
            flops=peak.value if peak else device.peak(dtype),
            clock=device.clock_hz,
        )

    def seconds(self, cost: Cost) -> float:
        """The least time for this work, kernels left out."""
        return max(cost.bytes / self.bandwidth, cost.flops / self.flops)

    def kernels(self, cost: Cost) -> float:
        """What starting and ending its kernels takes."""
        return cost.kernels * KERNEL_CYCLES / (self.clock or ORDINARY_CLOCK)

    def scaled(self, bandwidth: float, flops: float, clock: float | None) -> Roofline:
        """A device so many times as good, with another clock."""
        return Roofline(bandwidth=self.bandwidth * bandwidth, flops=self.flops * flops, clock=clock)


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Carries seconds of single pieces of work from ``source`` to ``target``; dtypes are those of the weights on each. eager: how the source was driven.

    Raises DeviceError where a device lacks the dtype.
    """

    source: Device
    target: Device
    source_dtype: str
    target_dtype: str
    eager: bool = False

    def carry(self, seconds: float, cost: Cost, target_cost: Cost) -> Interval:
        """Seconds of work that cost so much on the source, for what it costs on the target."""
        if self.source.name == self.target.name and cost == target_cost:
            return Interval(low=seconds, middle=seconds, high=seconds)
        here, ends = self._rooflines
        fast, middle, slow = (self._on(there, here, seconds, cost, target_cost) for there in ends)
        return Interval(low=fast * (1 - SPREAD), middle=middle, high=slow * (1 + SPREAD))

    @cached_property
    def _rooflines(self) -> tuple[Roofline, tuple[Roofline, ...]]:
        """The source's, and the target's at the fast end, in the middle and at the slow end of what is published."""
        here = Roofline.of(self.source, self.source_dtype)
        bandwidth = bandwidth_ratio(self.source, self.target)
        peak = peak_ratio(self.source, self.target, self.source_dtype, self.target_dtype)
        ends = ("high", "middle", "low")
        return here, tuple(here.scaled(getattr(bandwidth, end), getattr(peak, end), self.target.clock_hz) for end in ends)

    def _on(self, there: Roofline, here: Roofline, seconds: float, cost: Cost, target_cost: Cost) -> float:
        fixed, best = here.kernels(cost), here.seconds(cost)
        if self.eager and seconds > LAUNCH_BOUND * (fixed + best / ORDINARY):
            return max(seconds, there.kernels(target_cost) + there.seconds(target_cost) / ORDINARY)
        fixed = min(fixed, 0.9 * seconds)
        return fixed * there.kernels(target_cost) / here.kernels(cost) + (seconds - fixed) * there.seconds(target_cost) / best


@dataclass(frozen=True, kw_only=True)
class CarriedLatencies:
    """A latency table on another device, or with other dtypes. Asks the source's table for everything, so it refuses what that refuses.

    cost and target_cost: of the model as it was measured, and as it is to run. attends: whether the source's layers attend to their context;
    where they do not (imported operator times), attention is added by its bytes. end: which end of the intervals to take.
    """

    table: Latencies
    carrier: Carrier
    cost: ModelCost
    target_cost: ModelCost
    attends: bool = True
    end: str = "middle"

    def at(self, end: str) -> CarriedLatencies:
        """The same at another end of the intervals."""
        return replace(self, end=end)

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        """As `LatencyTable.layers`."""
        seen = context if self.attends else 0
        seconds = self.table.layers(start, stop, n_tokens, seen, reuse) / (stop - start)
        one = self._carried(seconds, self.cost.layer(n_tokens, seen), self.target_cost.layer(n_tokens, seen))
        return (stop - start) * (one if self.attends or not context else one + self._attention(n_tokens, context))

    def _attention(self, n_tokens: int, context: int) -> float:
        """Attending to the context, from bytes and FLOPs alone."""
        whole, without = self.target_cost.layer(n_tokens, context), self.target_cost.layer(n_tokens, 0)
        return estimate(Cost(cache=whole.cache, flops=whole.flops - without.flops, kernels=1), self.carrier, self.end)

    def head(self, depth: int, reuse: int) -> float:
        """As `LatencyTable.head`."""
        return self._carried(self.table.head(depth, reuse), self.cost.head(), self.target_cost.head())

    def verify(self, n_tokens: int) -> float:
        """As `LatencyTable.verify`."""
        return self._carried(self.table.verify(n_tokens), self.cost.verify(n_tokens), self.target_cost.verify(n_tokens))

    def embed(self, n_tokens: int) -> float:
        """As `LatencyTable.embed`."""
        return self._carried(self.table.embed(n_tokens), self.cost.embed(n_tokens), self.target_cost.embed(n_tokens))

    def prefill(self, n_tokens: int) -> float:
        """As `LatencyTable.prefill`."""
        return self._carried(self.table.prefill(n_tokens), self.cost.prefill(n_tokens), self.target_cost.prefill(n_tokens))

    def host(self) -> float:
        """As `LatencyTable.host`: the host stays the same."""
        return self.table.host()

    def _carried(self, seconds: float, cost: Cost, target_cost: Cost) -> float:
        return float(getattr(self.carrier.carry(seconds, cost, target_cost), self.end))


def estimate(cost: Cost, carrier: Carrier, end: str = "middle") -> float:
    """Seconds of work on the carrier's target that nobody measured anywhere: kernels, and bytes and FLOPs at ordinary efficiency."""
    roof = Roofline.of(carrier.target, carrier.target_dtype)
    middle = roof.kernels(cost) + roof.seconds(cost) / ORDINARY
    return middle * {"low": 1 - UNMEASURED, "middle": 1.0, "high": 1 + UNMEASURED}[end]
