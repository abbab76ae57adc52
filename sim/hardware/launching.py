"""Which regime latencies are of, whether another may be asked for, and what limits work in it."""

from __future__ import annotations

from dataclasses import dataclass

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.errors import DeviceError
from adadecode.profiles.latency import LatencyTable
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.host_time import HostTime
from adadecode.sim.hardware.launch_regime import (
    FUSED,
    FUSED_ATTENTION,
    KINDS,
    LIGHT_DOUBT,
    Regime,
    host_kernels,
    no_regime_on_cpu,
)
from adadecode.sim.hardware.roofline import Carrier

SMALL_KERNELS_NOTE = (
    f"A framework has {host_kernels('layer')} kernels a layer where a production engine has "
    f"{FUSED['layer'] + FUSED_ATTENTION}; the others are small, and what each takes is known "
    f"within {LIGHT_DOUBT:.0%}"
)
"""What the kernels of a framework rest on."""


@dataclass(frozen=True, kw_only=True)
class RegimeShift:
    """From the regime of some latencies to the one that is wanted.

    Attributes:
        was: The regime of the latencies.
        now: The regime that is wanted.
    """

    was: Regime
    now: Regime

    @property
    def changes(self) -> bool:
        """Whether they differ."""
        return self.was is not self.now

    @property
    def hosts(self) -> bool:
        """Whether a host starts the work that needed none."""
        return self.changes and self.now is Regime.EAGER

    @property
    def unhosts(self) -> bool:
        """Whether the work no longer needs the host that started it."""
        return self.changes and self.was is Regime.EAGER

    @property
    def was_fused(self) -> Regime:
        """The regime to count kernels by; one for both sides where nothing changes."""
        return self.was if self.changes else Regime.ENGINE

    @property
    def now_fused(self) -> Regime:
        """The same for what is wanted."""
        return self.now if self.changes else Regime.ENGINE

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, a sentence each; nothing where nothing changes."""
        if not self.changes:
            return ()
        kernels = {self.was, self.now} != {Regime.EAGER, Regime.GRAPHS}
        return (
            f"measured {_WHERE[self.was]}, wanted {_WHERE[self.now]}",
            *([SMALL_KERNELS_NOTE] if kernels else []),
        )


_WHERE = {
    Regime.EAGER: "as a host starts it kernel by kernel (eager)",
    Regime.GRAPHS: "as graphs of a framework's kernels",
    Regime.ENGINE: "as a production engine runs it",
}


def check_regime(target: Device, regime: Regime | None) -> None:
    """Refuse graphs and engines on a CPU, which has no host to hide.

    Raises:
        DeviceError: If a CPU is to run in one of them.
    """
    if target.is_cpu and regime not in (None, Regime.EAGER):
        raise DeviceError(no_regime_on_cpu(target.name, str(regime)))


def host_of(target: Device, n_layers: int, regime: Regime) -> HostTime | None:
    """Return the host that work on a device waits for; None where it has none, or hides it."""
    if target.is_cpu or regime is not Regime.EAGER:
        return None
    return HostTime(n_layers=n_layers, target=target)


def hidden_limits(target: Device) -> dict[str, str]:
    """Return the limits where no work waits for a host; empty on a CPU, which is its own."""
    return {} if target.is_cpu else dict.fromkeys(KINDS, "device")


def recorded_limits(
    table: LatencyTable, carrier: Carrier, cost: ModelCost, *, attends: bool
) -> dict[str, str]:
    """Return the limit of each kind of work that was measured with a host starting it.

    It is the host where most of what was measured waited for it: layers and verifications of the
    fewest tokens, heads, and prompts of all lengths.

    Args:
        table: The measured latencies.
        carrier: Tells what waited.
        cost: The cost of work where it was measured.
        attends: Whether the measured layers attend to their context.
    """
    waited: dict[str, list[bool]] = {}
    rows = table.points[table.points["kind"].isin(KINDS)]
    fewest = rows.groupby("kind")["n_tokens"].transform("min")
    rows = rows[(rows["n_tokens"] == fewest) | (rows["kind"] == "prefill")]
    columns = (rows[name].tolist() for name in ("kind", "layer", "n_tokens", "context", "seconds"))
    for kind, layer, n_tokens, context, seconds in zip(*columns, strict=True):
        if kind == "layer":
            work = cost.layer(n_tokens, context if attends else 0, layer)
        else:
            work = cost.head() if kind == "head" else getattr(cost, kind)(n_tokens)
        waited.setdefault(kind, []).append(carrier.waits(seconds, work))
    return {
        kind: "host" if 2 * sum(flags) > len(flags) else "device" for kind, flags in waited.items()
    }
