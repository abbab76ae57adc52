"""What steps take, from whatever the user has: a profile, an import, or a device's datasheet."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, ShapeError
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import FULL
from adadecode.sim.hardware.carried_latency import REACH
from adadecode.sim.hardware.memory import packed_dtype
from adadecode.sim.hardware.precision import Precision, ordinary
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.hardware.roofline import unmeasured_words
from adadecode.sim.prediction.latency_choice import RequiredWork, Target, recorded_latencies
from adadecode.sim.serving.latency.estimated_steps import serving_of_datasheet, serving_of_decoding
from adadecode.sim.serving.latency.step_times import StepTimes


@dataclass(frozen=True, kw_only=True)
class FoundSteps:
    """Prices of steps, and what they rest on.

    Attributes:
        price: Returns the seconds of a step.
        table: The table ``serving`` that the price was made of.
        unequal_contexts: Whether unequal contexts take more, where the table has them.
        device: What the steps run on, in words.
        n_devices: How many devices share every layer of it.
        basis: ``measured``, ``carried`` or ``datasheet``.
        notes: What was estimated or assumed, a sentence each.
        shape: The model; None where nobody knows.
        hardware: The device in the catalogue; None where it is not there.
        precision: Number formats of the model; None where nobody knows.
    """

    price: StepTimes
    table: pd.DataFrame
    unequal_contexts: bool
    device: str
    n_devices: int
    basis: str
    notes: tuple[str, ...]
    shape: ModelShape | None
    hardware: Device | None
    precision: Precision | None


@dataclass(frozen=True, kw_only=True)
class StepsWanted:
    """What steps are wanted for.

    Attributes:
        device: The device; None for the one of the profile.
        source: The device of the profile, where it does not say.
        model: The model of the profile, where it does not say; with a datasheet, the one to run.
        dtype: Number format of the weights; None for the recorded one.
        context: Positions of the longest request.
        prompt: Tokens of the longest prompt.
        tokens: Tokens of a step, at most.
        unequal_contexts: Whether sequences of unequal lengths take more than equal ones, where
            that was measured; None for what the profile says.
    """

    device: str | None = None
    source: str | None = None
    model: str | None = None
    dtype: str | None = None
    context: int
    prompt: int
    tokens: int
    unequal_contexts: bool | None = None


def find_steps(profile: Profile | None, wanted: StepsWanted) -> FoundSteps:
    """Return what steps take.

    Args:
        profile: A recording or an import; None for the datasheet of the device.
        wanted: What is wanted.

    Raises:
        DeviceError: If the device is unknown or not named, or the model does not fit on it.
        ShapeError: If the model is unknown or not named.
        LatencyError: If something was not measured, and cannot be carried.
        ProfileError: If the profile lacks latencies.
    """
    if profile is None:
        return _of_datasheet(wanted)
    origin = Provenance.of(profile, wanted.source, wanted.model)
    same = wanted.device is None or (
        origin.device is not None and find_device(wanted.device).name == origin.device.name
    )
    if len(profile.serving) and same and wanted.dtype is None:
        return _of_table(profile, origin, wanted)
    return _of_decoding(profile, origin, wanted)


def _of_table(profile: Profile, origin: Provenance, wanted: StepsWanted) -> FoundSteps:
    """Return steps whose pieces were measured."""
    measured = bool((profile.serving["kind"] == "unequal").any())
    applies = wanted.unequal_contexts
    if applies is None:
        applies = profile.manifest["settings"].get("unequal_contexts") is not False
    price = StepTimes.of(profile.serving, profile.n_layers, unequal_contexts=applies)
    notes = ["a step is the sum of its kernels, without gaps, whatever the host takes"]
    if price.unequal.error is not None:
        notes.append(
            "sequences of unequal lengths that decode together take a share, from measured ones, "
            "of what it would cost more if all were as long as the longest: off by "
            f"{price.unequal.error:.1%} of their attention in the median where it was measured"
        )
    else:
        notes.append(
            "sequences of unequal lengths that decode together take the time of as many of their "
            "mean length" + (": the profile says so, --unequal-contexts asks for more" * measured)
        )
    if price.attention.mixed is None:
        notes.append(
            "a prompt beside sequences that decode was not measured: both take their times alone"
        )
    return FoundSteps(
        price=price,
        table=profile.serving,
        unequal_contexts=applies,
        device=origin.machine,
        n_devices=origin.n_devices,
        basis="measured",
        notes=tuple(notes),
        shape=origin.shape,
        hardware=origin.device,
        precision=origin.precision,
    )


def _of_decoding(profile: Profile, origin: Provenance, wanted: StepsWanted) -> FoundSteps:
    """Return steps of layers that a decode loop ran, here or carried to another device."""
    device = wanted.device
    if device is None and not origin.attends:
        device = origin.require_device().name
    layers = profile.latency[profile.latency["kind"] == "layer"]

    def within(wanted: int, what: str) -> int:
        """Return how much of what is wanted latencies are carried for; a law goes on from there."""
        return max(1, min(wanted, REACH * max(layers[what].tolist(), default=1)))

    chosen = recorded_latencies(
        profile,
        origin,
        Target(
            device=device,
            source=wanted.source,
            dtype=wanted.dtype,
            work=RequiredWork(
                context=within(wanted.context, "context"),
                prompt=within(wanted.prompt, "context"),
                n_tokens=within(wanted.tokens, "n_tokens"),
                depths=(),
                form=FULL if origin.shape is None else origin.timed_form,
            ),
        ),
    )
    found = chosen.latencies
    table = serving_of_decoding(found.middle)
    return FoundSteps(
        price=StepTimes.of(table, profile.n_layers),
        table=table,
        unequal_contexts=False,
        device=found.device,
        # Nothing is carried from several devices.
        n_devices=origin.n_devices if found.basis == "measured" else 1,
        basis=found.basis,
        notes=(
            *found.notes,
            (
                "the latencies are of one sequence alone: several take attention one after the "
                "other, and all else as so many tokens of one"
            ),
        ),
        shape=origin.shape,
        hardware=chosen.device or (origin.device if wanted.device is None else None),
        precision=chosen.precision,
    )


def _of_datasheet(wanted: StepsWanted) -> FoundSteps:
    if wanted.device is None:
        raise DeviceError(
            "a datasheet is of a device: name it with --to, a name of the catalogue or FILE.toml"
        )
    if wanted.model is None:
        raise ShapeError("a datasheet holds no model: name the one to run with --model")
    if wanted.source is not None:
        raise DeviceError("nothing was measured, so nothing is carried: leave --from out")
    device, shape = find_device(wanted.device), find_model(wanted.model)
    weights = wanted.dtype or packed_dtype(shape) or ordinary(device)
    precision = Precision.of(weights, ordinary(device))
    table = serving_of_datasheet(shape, device, precision)
    return FoundSteps(
        price=StepTimes.of(table, shape.n_layers),
        table=table,
        unequal_contexts=False,
        device=device.name,
        n_devices=1,
        basis="datasheet",
        notes=(
            (
                f"{shape.name} in {precision} on {device.name}, estimated from bytes, FLOPs and "
                f"kernels, {unmeasured_words(device)}: nothing was measured"
            ),
        ),
        shape=shape,
        hardware=device,
        precision=precision,
    )
