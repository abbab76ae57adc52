"""The scenario of a what-if: whose text, on whose layers, on which device, and what is assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypedDict

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, DeviceError, ProfileError, ShapeError
from adadecode.profiles.store import Profile
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
"""Typed in the place of a profile on the command line: nothing was measured."""

SAME_PARAMETERS = 0.01
"""Two models with as many layers, and parameter counts as near as this share, have layers that take as long."""


@dataclass(frozen=True, kw_only=True)
class ScenarioOptions:
    """What to predict for, where it is not what was recorded.

    Attributes:
        device: The device to predict for: a name of the catalogue, or the path of a TOML file that
            describes one. None stands for the recorded one.
        source: The device that the latencies were measured on, where their profile does not hold
            it; named like ``device``.
        model: The model of the latencies, where their profile does not hold its shape. Without a
            profile, the model to run. A name of the catalogue, or the path of a ``config.json``.
        dtype: Number format of the weights on the device, by default as recorded.
        form: Form of the heads, by default as recorded.
    """

    device: str | None = None
    source: str | None = None
    model: str | None = None
    dtype: str | None = None
    form: HeadForm | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A text with its heads, on the layers of a model, on a device.

    Attributes:
        trace: The text and what its heads said, with the heads where they stand in the model.
        latencies: What the work takes on the device.
        model: Name of the model whose layers run.
        profile: Where the latencies come from; None where they are from a datasheet.
        options: What the scenario was made with.
        measured: The profile whose own latencies these are; None where they were carried or
            estimated.
        rejecting: Measured cells on which the branch model can be tested.
        hypothetical: Whether the text or its heads are another model's, or the heads stand where
            they were not trained.
        notes: Why it is hypothetical, and everything else that was assumed, a sentence each.
        precision: Number formats that the model runs in.
        form: Form of the heads.
        device: What the catalogue knows of a device on which nothing was measured; else None.
        deployment: What has to fit there, heads aside; else None.
    """

    trace: Trace
    latencies: DeviceLatencies
    model: str
    profile: Profile | None
    options: ScenarioOptions
    measured: Profile | None
    rejecting: tuple[Cell, ...]
    hypothetical: bool
    notes: tuple[str, ...]
    precision: Precision
    form: HeadForm = FULL
    device: Device | None = None
    deployment: Deployment | None = None

    def check_fits(self, placement: Sequence[int]) -> None:
        """Check that the model with these heads fits on a device that it was never run on.

        Raises:
            DeviceError: If it does not fit.
        """
        if self.deployment is not None and self.device is not None:
            check_fits(replace(self.deployment, heads=tuple(placement)), self.device)


def find_scenario(
    profile: Profile | None,
    options: ScenarioOptions | None = None,
    *,
    trace: Profile | None = None,
    heads_at: Mapping[int, int] | None = None,
    cap: int = DEFAULT_CAP,
) -> Scenario:
    """Put together a text, the latencies of a device, and the notes on both.

    Args:
        profile: Where the latencies come from; None takes them from the device's datasheet.
        options: The device, the model and their number formats; by default as recorded.
        trace: The profile whose text is replayed, where it is another one.
        heads_at: Where each head of the text stands in the model, by the depth it was trained at;
            heads that are left out are not used. By default where they were trained.
        cap: Most drafts in a round, which decides how large a batch has to be priced.

    Raises:
        ProfileError: If there is no text to replay.
        DesignError: If ``heads_at`` does not fit the model.
        DeviceError: If a device is unknown, or the model does not fit on it.
        ShapeError: If the shape of the model is unknown or another one.
        LatencyError: If work would have to be priced that is out of reach.
        HeadsError: If nobody can know what heads of this form would have said.
    """
    options = options or ScenarioOptions()
    text = _text(profile, trace)
    layers = _layers(profile, text, options.model)
    if options.form is not None and (shape := _shape_if_known(layers, options.model)) is not None:
        options.form.check_shape(shape)
    placed = _place_heads(Trace.from_profile(text), heads_at, layers)
    outputs, assumed = in_form(text, placed, options.form)
    form = options.form or (form_of(text) if trace is None else said_form_of(text))
    priced = _price(layers, text, options, _Work.of(outputs, cap, form))
    reasons = _reasons(text, layers, heads_at)
    return Scenario(
        trace=outputs,
        latencies=priced.latencies,
        model=layers.name,
        profile=profile,
        options=options,
        measured=profile if priced.latencies.basis == "measured" else None,
        rejecting=_move_cells(rejecting_cells(text), heads_at),
        hypothetical=bool(reasons),
        precision=priced.precision,
        form=form,
        device=priced.device,
        deployment=priced.deployment,
        notes=(
            *reasons,
            *priced.latencies.notes,
            *luck_notes(text),
            *assumed,
            *_precision_notes(text, layers, options.dtype),
        ),
    )


def _text(profile: Profile | None, trace: Profile | None) -> Profile:
    """Return the profile whose text is replayed. Raises ProfileError where there is none."""
    text = profile if trace is None else trace
    if text is None:
        raise ProfileError(
            "a datasheet holds no text to replay: give a profile that adadecode-profile recorded "
            "as --trace"
        )
    if text.prompts.empty:
        how = " as --trace" if trace is None else ""
        raise ProfileError(
            f"{text.path} holds latencies alone, and no text to replay: give a profile that "
            f"adadecode-profile recorded{how}"
        )
    return text


@dataclass(frozen=True, kw_only=True)
class _Layers:
    """Whose layers: of a profile, or of a shape. parameters: None where the profile does not count them."""

    name: str
    n_layers: int
    parameters: int | None
    profile: Profile | None = None
    shape: ModelShape | None = None


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


def _shape_if_known(layers: _Layers, model: str | None) -> ModelShape | None:
    if layers.profile is None:
        return layers.shape
    with suppress(ShapeError):
        return shape_of(layers.profile, model)
    return None


def _place_heads(trace: Trace, heads_at: Mapping[int, int] | None, layers: _Layers) -> Trace:
    """Return the trace with its heads where they stand in the model. Raises DesignError."""
    if heads_at is not None:
        return trace.mapped(heads_at, layers.n_layers)
    if trace.n_layers != layers.n_layers:
        in_proportion = scale_head_map(trace.depths, trace.n_layers, layers.n_layers)
        raise DesignError(
            f"the trace is of a model with {trace.n_layers} layers, {layers.name} has "
            f"{layers.n_layers}: say where its heads would stand, for instance in proportion with "
            f"--map {in_proportion}"
        )
    return trace


class _Reach(TypedDict):
    """How far latencies have to reach."""

    max_context: int
    max_tokens: int
    depths: tuple[int, ...]
    form: HeadForm


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What has to be priced: the longest prompt and text, the largest batch, and the heads."""

    context: int
    prompt: int
    n_tokens: int
    depths: tuple[int, ...]
    form: HeadForm

    @classmethod
    def of(cls, trace: Trace, cap: int, form: HeadForm) -> _Work:
        return cls(
            context=max(trace.n_prompt(p) + trace.max_new_tokens(p) for p in trace.prompts),
            prompt=max(map(trace.n_prompt, trace.prompts)),
            n_tokens=max(cap, 0) + 1,
            depths=trace.depths,
            form=form,
        )

    @property
    def reach(self) -> _Reach:
        return {
            "max_context": self.context,
            "max_tokens": self.n_tokens,
            "depths": self.depths,
            "form": self.form,
        }

    def deployment(self, shape: ModelShape, dtype: str) -> Deployment:
        return Deployment(
            shape=shape,
            dtype=dtype,
            context=self.context,
            prompt=self.prompt,
            n_tokens=self.n_tokens,
            form=self.form,
        )


@dataclass(frozen=True, kw_only=True)
class _Priced:
    """Latencies, and the fields of `Scenario` that follow from where they come from."""

    latencies: DeviceLatencies
    precision: Precision
    device: Device | None = None
    deployment: Deployment | None = field(default=None)


def _price(layers: _Layers, text: Profile, options: ScenarioOptions, work: _Work) -> _Priced:
    """Return measured latencies where nothing else is wanted, else carried or datasheet ones.

    Raises DeviceError where the model, heads aside, does not fit.
    """
    profile = layers.profile
    if profile is None:
        return _from_datasheet(layers.shape, text, options, work)
    as_recorded = (
        options.device is None
        and options.dtype is None
        and work.form == form_of(profile)
        and attends(profile)
    )
    if not as_recorded:
        return _carried(profile, options, work)
    if options.source is not None:
        raise DeviceError(
            "--from says what latencies are carried from: name the device to carry them to with "
            "--to"
        )
    return _Priced(latencies=measured_latencies(profile), precision=precision_of(profile))


def _from_datasheet(
    shape: ModelShape | None, text: Profile, options: ScenarioOptions, work: _Work
) -> _Priced:
    if shape is None or options.device is None:
        raise DeviceError(
            "a datasheet is of a device: name it with --to, a name of the catalogue or FILE.toml"
        )
    if options.source is not None:
        raise DeviceError("nothing was measured, so nothing is carried: leave --from out")
    device = find_device(options.device)
    as_recorded = None if options.model else precision_of(text).weights
    precision = Precision.of(options.dtype or as_recorded or ordinary(device), ordinary(device))
    deployment = work.deployment(shape, precision.weights)
    check_fits(deployment, device)
    latencies = datasheet_latencies(shape, device, dtype=precision.weights, **work.reach)
    return _Priced(latencies=latencies, precision=precision, device=device, deployment=deployment)


def _carried(profile: Profile, options: ScenarioOptions, work: _Work) -> _Priced:
    recorded_on, recorded_in = device_of(profile, options.source), precision_of(profile)
    device = recorded_on if options.device is None else find_device(options.device)
    precision = (
        recorded_in
        if options.dtype is None
        else Precision.of(options.dtype, recorded_in.activations)
    )
    deployment = work.deployment(shape_of(profile, options.model), precision.weights)
    check_fits(deployment, device)
    latencies = carried_latencies(
        profile,
        device,
        source=options.source,
        model=options.model,
        dtype=options.dtype,
        **work.reach,
    )
    if latencies.basis == "measured":
        return _Priced(latencies=latencies, precision=precision)
    return _Priced(latencies=latencies, precision=precision, device=device, deployment=deployment)


def _reasons(text: Profile, layers: _Layers, heads_at: Mapping[int, int] | None) -> list[str]:
    """Return why a prediction is hypothetical, a sentence each; none where it is not."""
    about = text.manifest["model"]
    ours, theirs = about.get("n_parameters"), layers.parameters
    differ = text.n_layers != layers.n_layers or bool(
        ours and theirs and abs(ours / theirs - 1) > SAME_PARAMETERS
    )
    reasons = hypothetical_notes(text)
    if text is not layers.profile and differ:
        reasons.append(
            f"hypothetical: the text and what its heads said are of {about['name']} "
            f"({text.n_layers} layers), the layers of {layers.name} ({layers.n_layers}), which "
            "never said it"
        )
    moved = {
        trained: depth
        for trained, depth in (heads_at or {}).items()
        if trained != depth or text.n_layers != layers.n_layers
    }
    if moved:
        where = ", ".join(f"{trained} at {depth}" for trained, depth in sorted(moved.items()))
        reasons.append(f"hypothetical: heads stand where they were not trained: {where}")
    return reasons


def _precision_notes(text: Profile, layers: _Layers, dtype: str | None) -> list[str]:
    """Return a note where the model would run in another number format than its text is from."""
    if is_synthetic(text):
        return []
    spoken_in = precision_of(text)
    runs_in = precision_of(layers.profile) if layers.profile else spoken_in
    weights = runs_in.weights if dtype is None else Precision.of(dtype, runs_in.activations).weights
    if weights == spoken_in.weights:
        return []
    return [
        f"the text was recorded in {spoken_in}: with {weights} weights, model and heads may say "
        "something else"
    ]


def _move_cells(cells: Sequence[Cell], heads_at: Mapping[int, int] | None) -> tuple[Cell, ...]:
    """Return the cells with their heads where they stand now, without those that lost a head."""
    if heads_at is None:
        return tuple(cells)
    return tuple(
        (replace(design, placement=tuple(heads_at[head] for head in design.placement)), prompt)
        for design, prompt in cells
        if set(design.placement) <= set(heads_at)
    )
