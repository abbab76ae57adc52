"""The joules of an output token on one device, and over vanilla's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.trace import Trace
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.power import Energy, drawn_over_vanilla, energy_bounds, over_vanilla
from adadecode.sim.prediction.accounting import Accounting
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.simulation import replay


@dataclass(frozen=True, kw_only=True)
class TokenEnergy:
    """The joules of an output token on one device.

    Attributes:
        device: Name of the device.
        basis: Where its latencies are from: "measured", "carried" or "datasheet".
        regime: How its kernels are started; None for assumed latencies.
        limited_by: "host" or "device" by kind of work: which decides how long it takes.
        seconds_per_token: The middle of its latencies.
        joules: From the ends of its latencies and of `energy_bounds`.
        vanilla_joules: The same of vanilla.
        over_vanilla: The joules over vanilla's: what early exits save (below 1) or cost.
    """

    device: str
    basis: str
    regime: str | None
    limited_by: dict[str, str]
    seconds_per_token: float
    joules: Energy
    vanilla_joules: Energy
    over_vanilla: Energy


def energy_notes(energy: TokenEnergy | None, *, times_have_ends: bool) -> tuple[str, ...]:
    """Return what the ends of the energy do not hold, a sentence each.

    Args:
        energy: The joules; None without a device.
        times_have_ends: Whether the latencies have ends of their own.
    """
    if energy is None or times_have_ends or energy.basis != "measured":
        return ()
    return (
        "the ends of the energy hold what the device may draw, not how far its times may be off",
    )


def token_energy(
    trace: Trace,
    latencies: DeviceLatencies,
    device: Device,
    work: tuple[Accounting, Accounting],
    model: BranchModel,
) -> TokenEnergy | None:
    """Return the joules of an output token; None where the device's watts are unknown.

    Args:
        trace: The text that is replayed.
        latencies: What work takes on the device.
        device: The device.
        work: What the design does, and what vanilla does.
        model: The model of branches that were not recorded.
    """
    if device.tdp_watts is None:
        return None
    seconds, drawn = (
        [
            {
                end: sum(run.seconds for run in replay(trace, table, one.design, model=model))
                / one.tokens
                for end, table in tables.items()
            }
            for one in work
        ]
        for tables in (latencies.tables, latencies.joules)
    )
    amounts = [(one.flops.total, one.bytes.total) for one in work]
    joules, vanilla = (
        _energy(device, each, *amount) for each, amount in zip(seconds, amounts, strict=True)
    )
    ratio = over_vanilla(device.tdp_watts, seconds[0], seconds[1], amounts[0], amounts[1])
    if latencies.joules:
        joules, vanilla = (_measured_energy(*each) for each in zip(drawn, seconds, strict=True))
        ratio = drawn_over_vanilla(drawn[0], drawn[1], seconds[0], seconds[1])
    return TokenEnergy(
        device=latencies.device,
        basis=latencies.basis,
        regime=latencies.regime and str(latencies.regime),
        limited_by=dict(latencies.limits),
        seconds_per_token=seconds[0]["middle"],
        joules=joules,
        vanilla_joules=vanilla,
        over_vanilla=Energy(**{end: float(each) for end, each in ratio.items()}),
    )


def _energy(device: Device, seconds: Mapping[str, float], flops: float, moved: float) -> Energy:
    """Return the joules of some work from the ends of its seconds; the device's watts are known."""
    ends = {}
    for end in ("low", "middle", "high"):
        bounds = energy_bounds(device, seconds.get(end, seconds["middle"]), flops, moved)
        assert bounds is not None
        ends[end] = getattr(bounds, end)
    return Energy(**ends)


def _measured_energy(drawn: Mapping[str, float], seconds: Mapping[str, float]) -> Energy:
    """Return the joules of work whose kernels' power was measured, from the ends of its seconds."""
    middle = seconds["middle"]
    return Energy(**{end: each * seconds.get(end, middle) / middle for end, each in drawn.items()})
