"""What the host takes to start the kernels of a model, where it starts them one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

from adadecode.profiles.catalog.devices import Device
from adadecode.sim.hardware.launch_regime import FRAMEWORK, KINDS, host_kernels
from adadecode.sim.hardware.roofline import Interval

HOST_SECONDS = Interval(low=16e-6, middle=24e-6, high=30e-6)
"""Seconds that a host takes to start one kernel from Python, in an eager framework.

From two published speeds, neither of them the AdaDecode paper's: the eager start of gpt-fast (25.5
tokens/s for Llama-2-7B on an A100, 1,561 kernels a token by its source: 25 us), and
CodeLlama-34B on an H100 in DEX (arXiv 2606.29223: 20.6 tokens/s, 1,992 kernels: 24 us). The low end
is a faster host, which takes up to 29 % less (arXiv 2603.12465). The high end was set above every
published speed that was looked at, the paper's slowest (28 us) included: that the paper's speeds
lie inside is no test of it.
"""

SEEN_WITH = "NVIDIA"
"""The vendor of the devices that those hosts started: others are started by other programs."""

COUNT_DOUBT = 0.1
"""Relative error of how many kernels one kind of work has next to another, either way."""


@dataclass(kw_only=True)
class HostTime:
    """The host of an eager model, which takes a while for each piece of work.

    Attributes:
        n_layers: Layers of the model, all of which a prompt goes through.
        target: The device that it starts.
        limits: ``host`` or ``device`` by kind of work: what decided how long it takes, for one
            token at the longest context, and for the longest prompt.
    """

    n_layers: int
    target: Device
    limits: dict[str, str] = field(default_factory=dict, init=False)
    _least: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def over(self, kind: str, device: Interval, n_tokens: int) -> tuple[Interval, Interval]:
        """Return the seconds of a piece of work: the host's or the device's, whichever are more.

        Args:
            kind: Kind of work, as in a table of latencies.
            device: Seconds on the device.
            n_tokens: Tokens computed at once.

        Returns:
            The seconds; and those to take where other work is wrong the opposite way. How fast the
            host is, is one figure for all work, and only the counts of kernels are wrong apart.
        """
        kernels = self.kernels(kind)
        host = _times(HOST_SECONDS, kernels)
        if kind in KINDS and (kind == "prefill" or n_tokens <= self._least.get(kind, n_tokens)):
            self._least[kind] = n_tokens
            self.limits[kind] = "host" if host.middle > device.middle else "device"
        apart = Interval(
            low=host.middle * (1 - COUNT_DOUBT),
            middle=host.middle,
            high=host.middle * (1 + COUNT_DOUBT),
        )
        return host.at_least(device), apart.at_least(device)

    def kernels(self, kind: str) -> int:
        """Return how many kernels the host starts; 0 for what is no work of the device."""
        if kind == "prefill":
            once = host_kernels("embed") + host_kernels("verify")
            return self.n_layers * host_kernels("layer") + once
        return host_kernels(kind) if kind in FRAMEWORK else 0

    @property
    def note(self) -> str:
        """What was assumed of the host, a sentence."""
        layer = _times(HOST_SECONDS, host_kernels("layer"))
        return (
            f"eager: a host that takes {HOST_SECONDS.middle * 1e6:.0f} us "
            f"({HOST_SECONDS.low * 1e6:.0f} .. {HOST_SECONDS.high * 1e6:.0f}) to start each of the "
            f"{host_kernels('layer')} kernels of a layer, {layer.middle * 1e3:.2f} ms in all; work "
            "takes as long as the slower of host and device"
            + (
                ""
                if self.target.vendor == SEEN_WITH
                else f"; such hosts were seen with {SEEN_WITH} devices alone, and "
                f"{self.target.name} is assumed to have one like them"
            )
        )


def _times(seconds: Interval, count: int) -> Interval:
    return Interval(
        low=seconds.low * count, middle=seconds.middle * count, high=seconds.high * count
    )
