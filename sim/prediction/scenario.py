"""What is asked of a what-if: whose text, on whose layers, on which device. Everything assumed on the way is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, DeviceError, ProfileError, ShapeError
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.core.parsing import scale_head_map
from adadecode.sim.hardware.carried_latency import carried_latencies
from adadecode.sim.hardware.datasheet_latency import datasheet_latencies
from adadecode.sim.hardware.device_latency import DeviceLatencies, measured_latencies
from adadecode.sim.hardware.memory import Deployment, check_fits
from adadecode.sim.hardware.precision import Precision, ordinary
from adadecode.sim.hardware.provenance import (
    attends,
    device_of,
    form_of,
    is_synthetic,
    precision_of,
    said_form_of,
    shape_of,
)
from adadecode.sim.measurements.runs import Cell
from adadecode.sim.prediction.branch_error import rejecting_cells
from adadecode.sim.prediction.caveats import hypothetical_notes, luck_notes
from adadecode.sim.prediction.shortlist_trace import in_form

DATASHEET = "datasheet"
"""In place of a profile with latencies: nothing was measured."""

SAME = 0.01
"""Two models with as many layers, and parameters as near as this, have layers that take as long."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A text with its heads, on the layers of a model on a device.

    model: whose layers. measured: the profile whose own latencies these are, None where they were carried or estimated. rejecting: measured cells on which
    the branch model can be tried. form: of the heads. hypothetical: whether the text, its heads or where they stand are another model's. notes: why, and what else was
    assumed. precision: what the model runs in there. device, run: where nothing was measured there, what the catalogue says of it, and what is to fit
    (heads aside).
    """

    trace: Trace
    latencies: DeviceLatencies
    model: str
    measured: Profile | None
    rejecting: tuple[Cell, ...]
    hypothetical: bool
    notes: tuple[str, ...]
    precision: Precision
    form: HeadForm = FULL
    device: Device | None = None
    run: Deployment | None = None

    def check_fits(self, placement: Sequence[int]) -> None:
        """Raises DeviceError where the model with these heads does not fit on a device that it was never run on."""
        if self.run is not None and self.device is not None:
            check_fits(replace(self.run, heads=tuple(placement)), self.device)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where latencies come from, and what they should become; names as a user types them.

    latency: directory of a profile with latencies, or ``DATASHEET``. to: the device, where it is not the recorded one. source, model: device and model
    of the latencies, where their profile does not say; with a datasheet, the model to run. dtype: of the weights on the device. form: of the heads, as recorded
    where None.
    """

    latency: str
    to: str | None = None
    source: str | None = None
    model: str | None = None
    dtype: str | None = None
    form: HeadForm | None = None


@dataclass(frozen=True, kw_only=True)
class _Layers:
    """Whose layers: of a profile, or of a shape. parameters: None where the profile does not count them."""

    name: str
    n_layers: int
    parameters: int | None
    profile: Profile | None = None
    shape: ModelShape | None = None


def find_scenario(
    setting: Setting,
    *,
    trace: str | None = None,
    depths: Mapping[int, int] | None = None,
    cap: int = DEFAULT_CAP,
) -> Scenario:
    """trace: directory of a profile with text, where it is another one than that of the latencies. depths: where its heads stand in their model. cap: most drafts in a round.

    Raises ProfileError, DeviceError, ShapeError, LatencyError, and DesignError for depths that do not fit.
    """
    profile = None if setting.latency == DATASHEET else read_profile(setting.latency)
    text = profile if trace is None else read_profile(trace)
    if text is None:
        raise ProfileError(
            "a datasheet holds no text to replay: give a profile that adadecode-profile recorded as --trace"
        )
    if text.prompts.empty:
        how = " as --trace" if trace is None else ""
        raise ProfileError(
            f"{text.path} holds latencies alone, and no text to replay: give a profile that adadecode-profile recorded{how}"
        )
    layers = _layers(profile, text, setting.model)
    if setting.form is not None and (shape := _shape(layers, setting.model)) is not None:
        setting.form.check_shape(shape)
    said, assumed = in_form(text, _placed(Trace.from_profile(text), depths, layers), setting.form)
    form = setting.form or (form_of(text) if profile is text else said_form_of(text))
    latencies, precision, device, run = _latencies(layers, text, setting, said, cap, form)
    reasons = _reasons(text, layers, depths)
    return Scenario(
        trace=said,
        latencies=latencies,
        model=layers.name,
        measured=profile if latencies.basis == "measured" else None,
        rejecting=_moved(rejecting_cells(text), depths),
        hypothetical=bool(reasons),
        precision=precision,
        form=form,
        device=device,
        run=run,
        notes=(
            *reasons,
            *latencies.notes,
            *luck_notes(text),
            *assumed,
            *_other_numbers(text, layers, setting.dtype),
        ),
    )


def _layers(profile: Profile | None, text: Profile, model: str | None) -> _Layers:
    if profile is None:
        shape = (
            find_model(model)
            if model
            else replace(shape_of(text), name=str(text.manifest["model"]["name"]))
        )
        return _Layers(
            name=shape.name, n_layers=shape.n_layers, parameters=shape.total_parameters, shape=shape
        )
    about = profile.manifest["model"]
    name = shape_of(profile, model).name if model else str(about["name"])
    return _Layers(
        name=name, n_layers=profile.n_layers, parameters=about.get("n_parameters"), profile=profile
    )


def _shape(layers: _Layers, model: str | None) -> ModelShape | None:
    """Of the layers; None where nothing tells it."""
    if layers.profile is None:
        return layers.shape
    with suppress(ShapeError):
        return shape_of(layers.profile, model)
    return None


def _placed(said: Trace, depths: Mapping[int, int] | None, layers: _Layers) -> Trace:
    """The trace with its heads where they are to stand."""
    if depths is not None:
        return said.mapped(depths, layers.n_layers)
    if said.n_layers != layers.n_layers:
        raise DesignError(
            f"the trace is of a model with {said.n_layers} layers, {layers.name} has {layers.n_layers}: say where its heads would stand, "
            f"for instance in proportion with --map {scale_head_map(said.depths, said.n_layers, layers.n_layers)}"
        )
    return said


def _latencies(
    layers: _Layers, text: Profile, setting: Setting, said: Trace, cap: int, form: HeadForm
) -> tuple[DeviceLatencies, Precision, Device | None, Deployment | None]:
    """Measured where nothing else is asked for, else carried or from a datasheet; with `Scenario`'s precision, device and run.

    Raises DeviceError where the model, heads aside, does not fit.
    """
    longest = max(said.n_prompt(prompt) + said.max_new_tokens(prompt) for prompt in said.prompts)
    profile, to, source, dtype = layers.profile, setting.to, setting.source, setting.dtype
    most = max(cap, 0) + 1
    deployed = partial(
        Deployment,
        context=longest,
        prompt=max(map(said.n_prompt, said.prompts)),
        n_tokens=most,
        form=form,
    )
    work: dict[str, Any] = {
        "max_context": longest,
        "max_tokens": most,
        "depths": said.depths,
        "form": form,
    }
    if profile is None:
        if layers.shape is None or to is None:
            raise DeviceError(
                "a datasheet is of a device: name it with --to, a name of the catalogue or FILE.toml"
            )
        if source is not None:
            raise DeviceError("nothing was measured, so nothing is carried: leave --from out")
        device = find_device(to)
        as_recorded = None if setting.model else precision_of(text).weights
        precision = Precision.of(dtype or as_recorded or ordinary(device), ordinary(device))
        run = deployed(shape=layers.shape, dtype=precision.weights)
        check_fits(run, device)
        return (
            datasheet_latencies(layers.shape, device, dtype=precision.weights, **work),
            precision,
            device,
            run,
        )
    was = precision_of(profile)
    if to is None and dtype is None and form == form_of(profile) and attends(profile):
        if source is not None:
            raise DeviceError(
                "--from says what latencies are carried from: name the device to carry them to with --to"
            )
        return measured_latencies(profile), was, None, None
    here = device_of(profile, source)
    device = here if to is None else find_device(to)
    precision = was if dtype is None else Precision.of(dtype, was.activations)
    run = deployed(shape=shape_of(profile, setting.model), dtype=precision.weights)
    check_fits(run, device)
    carried = carried_latencies(
        profile, device, source=source, model=setting.model, dtype=dtype, **work
    )
    return (
        (carried, precision, None, None)
        if carried.basis == "measured"
        else (carried, precision, device, run)
    )


def _reasons(text: Profile, layers: _Layers, depths: Mapping[int, int] | None) -> list[str]:
    """Why a prediction is hypothetical."""
    about = text.manifest["model"]
    ours, theirs = about.get("n_parameters"), layers.parameters
    differ = text.n_layers != layers.n_layers or bool(
        ours and theirs and abs(ours / theirs - 1) > SAME
    )
    reasons = hypothetical_notes(text)
    if text is not layers.profile and differ:
        reasons.append(
            f"hypothetical: the text and what its heads said are of {about['name']} ({text.n_layers} layers), the layers of {layers.name} "
            f"({layers.n_layers}), which never said it"
        )
    if moved := {
        head: place
        for head, place in (depths or {}).items()
        if head != place or text.n_layers != layers.n_layers
    }:
        where = ", ".join(f"{head} at {place}" for head, place in sorted(moved.items()))
        reasons.append(f"hypothetical: heads stand where they were not trained: {where}")
    return reasons


def _other_numbers(text: Profile, layers: _Layers, dtype: str | None) -> list[str]:
    """A note where the model would run with other numbers than it spoke with."""
    if is_synthetic(text):
        return []
    spoke = precision_of(text)
    runs = precision_of(layers.profile) if layers.profile else spoke
    weights = runs.weights if dtype is None else Precision.of(dtype, runs.activations).weights
    return (
        []
        if weights == spoke.weights
        else [
            f"the text was recorded in {spoke}: with {weights} weights, model and heads may say something else"
        ]
    )


def _moved(cells: Sequence[Cell], depths: Mapping[int, int] | None) -> tuple[Cell, ...]:
    """The cells with their heads where they stand now; those with a head that was left out are left out."""
    if depths is None:
        return tuple(cells)
    return tuple(
        (replace(design, placement=tuple(depths[head] for head in design.placement)), prompt)
        for design, prompt in cells
        if set(design.placement) <= set(depths)
    )
