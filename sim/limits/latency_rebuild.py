"""The latencies of a scenario made again: for a device that differs in one figure, or for larger batches."""

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
from adadecode.sim.hardware.provenance import device_of
from adadecode.sim.limits.concurrency import largest_batch
from adadecode.sim.prediction.scenario import Scenario, ScenarioOptions


@dataclass(frozen=True, kw_only=True)
class LatencyRebuilder:
    """What a scenario's latencies were made of. Build with `of`.

    source: the profile they are from, each point of it once, or the shape of a model where they are from a datasheet. device: whose they are.
    dtype: of the weights. depths: of the heads. max_context: the longest that can be asked for.
    """

    options: ScenarioOptions
    source: Profile | ModelShape
    device: Device
    dtype: str | None
    depths: tuple[int, ...]
    max_context: int

    @classmethod
    def of(cls, scenario: Scenario) -> LatencyRebuilder:
        """Take apart a scenario. Raises DeviceError for a machine that the catalogue does not know."""
        options = scenario.options
        said = scenario.trace
        source: Profile | ModelShape
        dtype = options.dtype
        if scenario.latencies.basis == "datasheet":
            assert scenario.deployment is not None
            assert scenario.device is not None
            source, device, dtype = (
                scenario.deployment.shape,
                scenario.device,
                scenario.precision.weights,
            )
        else:
            assert scenario.profile is not None
            profile = scenario.profile
            device = scenario.device or (
                find_device(options.device)
                if options.device is not None
                else device_of(profile, options.source)
            )
            source = replace(
                profile, latency=LatencyTable.from_samples(profile.latency, profile.n_layers).points
            )
        return cls(
            options=options,
            source=source,
            device=device,
            dtype=dtype,
            depths=said.depths,
            max_context=max(
                said.n_prompt(prompt) + said.max_new_tokens(prompt) for prompt in said.prompts
            ),
        )

    def latencies(self, device: Device, max_tokens: int) -> DeviceLatencies:
        """Of a device, for batches up to max_tokens. Raises LatencyError, DeviceError."""
        named, work = self.options, {"max_context": self.max_context, "max_tokens": max_tokens}
        if isinstance(self.source, ModelShape):
            assert self.dtype is not None
            return datasheet_latencies(
                self.source,
                device,
                dtype=self.dtype,
                depths=self.depths,
                form=named.form or FULL,
                **work,
            )
        return carried_latencies(
            self.source,
            device,
            source=named.source,
            model=named.model,
            dtype=self.dtype,
            depths=self.depths,
            form=named.form,
            **work,
        )

    @cached_property
    def reach(self) -> int | None:
        """The largest batch that can be told of; None where nothing was measured, and everything is estimated."""
        if isinstance(self.source, ModelShape):
            return None
        return REACH * largest_batch(
            LatencyTable.from_samples(self.source.latency, self.source.n_layers)
        )
