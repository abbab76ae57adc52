"""The latencies of a scenario made again: for a device that differs, or for larger batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import FULL
from adadecode.sim.hardware.carried_latency import REACH, carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.limits.concurrency import largest_batch
from adadecode.sim.prediction.scenario import Scenario, ScenarioOptions


@dataclass(frozen=True, kw_only=True)
class LatencyRebuilder:
    """What a scenario's latencies were made of. Build with `of`.

    Attributes:
        options: What the scenario was made with.
        source: The profile that the latencies are from, with each point of it once; or the shape
            of a model, where they are from a datasheet.
        device: The device whose latencies they are.
        dtype: Number format of the weights; None for the recorded one.
        depths: Depths of the heads.
        gates: Whether the heads have gates.
        max_context: The longest context that can be needed.
        window: Positions that layers see at most, as `ModelShape.sight` gives them; None for all,
            and where the shape is unknown.
    """

    options: ScenarioOptions
    source: Profile | ModelShape
    device: Device
    dtype: str | None
    depths: tuple[int, ...]
    gates: bool
    max_context: int
    window: int | tuple[int, ...] | None

    @classmethod
    def of(cls, scenario: Scenario) -> LatencyRebuilder:
        """Take a scenario apart.

        Raises:
            DeviceError: If the catalogue does not know the machine.
        """
        options, trace = scenario.options, scenario.trace
        source: Profile | ModelShape
        profile, origin = scenario.sources.profile, scenario.sources.origin
        if scenario.latencies.basis == "datasheet" or profile is None or origin is None:
            assert scenario.deployment is not None
            assert scenario.device is not None
            source, device = scenario.deployment.shape, scenario.device
            dtype: str | None = scenario.precision.weights
            window = source.sight
        else:
            if scenario.device is not None:
                device = scenario.device
            elif options.device is not None:
                device = find_device(options.device)
            else:
                device = origin.require_device()
            points = LatencyTable.from_samples(profile.latency, profile.n_layers).points
            source, dtype = replace(profile, latency=points), options.dtype
            window = None if origin.shape is None else origin.shape.sight
        return cls(
            options=options,
            source=source,
            device=device,
            dtype=dtype,
            depths=trace.depths,
            gates=trace.has_gates,
            max_context=max(trace.n_prompt(p) + trace.max_new_tokens(p) for p in trace.prompts),
            window=window,
        )

    def latencies(self, device: Device, max_tokens: int) -> DeviceLatencies:
        """Make the latencies of a device.

        Args:
            device: The device.
            max_tokens: The largest batch.

        Raises:
            LatencyError: If something lies too far beyond what was measured.
            DeviceError: If the device lacks the number format.
        """
        options = self.options
        if isinstance(self.source, ModelShape):
            assert self.dtype is not None
            return datasheet_latencies(
                self.source,
                device,
                dtype=self.dtype,
                depths=self.depths,
                form=options.form or FULL,
                gates=self.gates,
                max_context=self.max_context,
                max_tokens=max_tokens,
                regime=self.regime,
            )
        return carried_latencies(
            self.source,
            device,
            origin=Provenance.of(self.source, options.source, options.model),
            dtype=self.dtype,
            depths=self.depths,
            form=options.form,
            gates=self.gates,
            max_context=self.max_context,
            max_tokens=max_tokens,
            regime=self.regime,
        )

    @property
    def regime(self) -> Regime | None:
        """How kernels are started, where the user said so."""
        return None if self.options.regime is None else Regime.named(self.options.regime)

    @cached_property
    def reach(self) -> int | None:
        """The largest batch that latencies can be made for.

        None where nothing was measured, and everything is estimated.
        """
        if isinstance(self.source, ModelShape):
            return None
        return REACH * largest_batch(
            LatencyTable.from_samples(self.source.latency, self.source.n_layers)
        )
