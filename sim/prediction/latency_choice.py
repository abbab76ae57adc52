"""Which latencies a scenario has: as measured, carried to another device, or from a datasheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DeviceError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import DeviceLatencies, measured_latencies
from adadecode.sim.hardware.fit import check_fits
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.launching import check_regime
from adadecode.sim.hardware.memory import Deployment, packed_dtype
from adadecode.sim.hardware.precision import Precision, ordinary
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.timed_heads import timed_forms


@dataclass(frozen=True, kw_only=True)
class Target:
    """What latencies are wanted for.

    Attributes:
        device: A name of the catalogue or the path of a TOML file; None for the recorded device.
        source: As the user named the device of the recording.
        dtype: Number format of the weights; None for the recorded one.
        work: What has to be priced.
        regime: How kernels are started; None for how they were, and for an engine's otherwise.
    """

    device: str | None
    source: str | None
    dtype: str | None
    work: RequiredWork
    regime: Regime | None = None


@dataclass(frozen=True, kw_only=True)
class ChosenLatencies:
    """Latencies, and what follows from where they come from.

    Attributes:
        latencies: What the work takes on the device.
        precision: Number formats that the model runs in there.
        device: What the catalogue knows of a device on which nothing was measured; else None.
        deployment: What has to fit there, heads aside; else None.
    """

    latencies: DeviceLatencies
    precision: Precision
    device: Device | None = None
    deployment: Deployment | None = None


class _Reach(TypedDict):
    """How far latencies have to reach."""

    max_context: int
    max_tokens: int
    depths: Sequence[int]
    form: HeadForm
    gates: bool


@dataclass(frozen=True, kw_only=True)
class RequiredWork:
    """What has to be priced: the longest text and prompt, the largest batch, heads and gates."""

    context: int
    prompt: int
    n_tokens: int
    depths: tuple[int, ...]
    form: HeadForm
    gates: bool = False

    @classmethod
    def of(cls, trace: Trace, cap: int, form: HeadForm) -> RequiredWork:
        """Return the work of replaying a trace.

        Args:
            trace: The text, with the heads where they stand.
            cap: Most drafts in a round.
            form: Form of the heads.
        """
        return cls(
            context=max(trace.n_prompt(p) + trace.max_new_tokens(p) for p in trace.prompts),
            prompt=max(map(trace.n_prompt, trace.prompts)),
            n_tokens=max(cap, 0) + 1,
            depths=trace.depths,
            form=form,
            gates=trace.has_gates,
        )

    @property
    def reach(self) -> _Reach:
        """How far latencies have to reach."""
        return {
            "max_context": self.context,
            "max_tokens": self.n_tokens,
            "depths": self.depths,
            "form": self.form,
            "gates": self.gates,
        }

    def deployment(self, shape: ModelShape, dtype: str, cache: str | None = None) -> Deployment:
        """Return what has to fit on a device, heads aside."""
        return Deployment(
            shape=shape,
            dtype=dtype,
            cache_dtype=cache,
            context=self.context,
            prompt=self.prompt,
            n_tokens=self.n_tokens,
            form=self.form,
        )


def recorded_latencies(profile: Profile, origin: Provenance, target: Target) -> ChosenLatencies:
    """Return measured latencies where they are what is wanted, else carried ones.

    Args:
        profile: The recording.
        origin: Its provenance.
        target: What is wanted. A device that no time can be carried to is priced by its datasheet.

    Raises:
        DeviceError: If a device is unknown, the model, heads aside, does not fit on it, or there is
            no such regime.
        ShapeError: If the shape of the model is unknown.
        LatencyError: If something lies too far beyond what was measured.
    """
    as_recorded = (
        (target.device is None or origin.is_of_several(find_device(target.device)))
        and target.dtype is None
        and target.regime in (None, origin.regime)
        and target.work.form in timed_forms(profile, origin)
        and origin.attends
    )
    if not as_recorded:
        return _carried(profile, origin, target)
    return ChosenLatencies(
        latencies=measured_latencies(profile, origin, target.work.form),
        precision=origin.require_precision(),
    )


def _carried(profile: Profile, origin: Provenance, target: Target) -> ChosenLatencies:
    if target.device is None:
        origin.check_regime(target.regime)
    device = origin.require_device() if target.device is None else find_device(target.device)
    if origin.device is not None and device.name == origin.device.name:
        device = origin.device
    if why := origin.mismatch(device):
        return _not_carried(profile, origin, target, device, why)
    origin.check_regime(target.regime)
    check_regime(device, target.regime)
    origin.require_device()
    origin.check_alone()
    precision = origin.require_precision().with_weights(target.dtype)
    deployment = target.work.deployment(origin.require_shape(), precision.weights, precision.cache)
    check_fits(deployment, device)
    latencies = carried_latencies(
        profile,
        device,
        origin=origin,
        dtype=target.dtype,
        regime=target.regime,
        **target.work.reach,
    )
    if latencies.basis == "measured":
        return ChosenLatencies(latencies=latencies, precision=precision)
    return ChosenLatencies(
        latencies=latencies, precision=precision, device=device, deployment=deployment
    )


def _not_carried(
    profile: Profile, origin: Provenance, target: Target, device: Device, why: str
) -> ChosenLatencies:
    """Return latencies from the datasheet of a device that no time can be carried to."""
    recorded, dtype = origin.require_precision(), target.dtype
    notes = [f"{why}, so nothing but the text and what its heads said is from the recording"]
    if dtype is None and recorded.activations not in device.peak_flops:
        dtype = ordinary(device)
        notes.append(
            f"{device.name} has no {recorded.activations}: in {dtype}, model and heads may say "
            "something else"
        )
    shape = replace(origin.require_shape(), name=str(profile.manifest["model"]["name"]))
    chosen = datasheet_choice(shape, recorded, replace(target, source=None, dtype=dtype))
    latencies = replace(chosen.latencies, notes=(*chosen.latencies.notes, *notes))
    return replace(chosen, latencies=latencies)


def datasheet_choice(
    shape: ModelShape, recorded: Precision | None, target: Target
) -> ChosenLatencies:
    """Return latencies from a device's datasheet, with nothing measured.

    Args:
        shape: Of the model that runs.
        recorded: What the text was recorded in, where its own model runs; None for another model.
        target: What is wanted; its device has to be named.

    Raises:
        DeviceError: If the device is unknown, or the model, heads aside, does not fit on it.
    """
    if target.device is None:
        raise DeviceError(
            "a datasheet is of a device: name it with --to, a name of the catalogue or FILE.toml"
        )
    if target.source is not None:
        raise DeviceError("nothing was measured, so nothing is carried: leave --from out")
    device = find_device(target.device)
    weights = target.dtype or (
        packed_dtype(shape) or ordinary(device) if recorded is None else recorded.weights
    )
    precision = Precision.of(weights, ordinary(device))
    deployment = target.work.deployment(shape, precision.weights)
    check_fits(deployment, device)
    latencies = datasheet_latencies(
        shape, device, dtype=precision.weights, regime=target.regime, **target.work.reach
    )
    return ChosenLatencies(
        latencies=latencies, precision=precision, device=device, deployment=deployment
    )
