"""The scenario of a what-if: whose text, on whose layers, on which device, and what is assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.core.parsing import scale_head_map
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.fit import check_fits
from adadecode.sim.hardware.gate_latency import with_gates
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.memory import Deployment
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.measurements.runs import Cell
from adadecode.sim.prediction.caveats import hypothetical_notes, luck_notes
from adadecode.sim.prediction.latency_choice import (
    ChosenLatencies,
    RequiredWork,
    Target,
    datasheet_choice,
    recorded_latencies,
)
from adadecode.sim.prediction.shortlist_trace import in_form
from adadecode.sim.prediction.sources import Sources

SAME_PARAMETERS = 0.01
"""How far the parameter counts of two models with as many layers may differ, as a share, for their
layers to take as long."""


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
        regime: How kernels are started: ``eager``, ``graphs`` or ``engine``. By default as in what
            was measured, and as an engine does where nothing was.
    """

    device: str | None = None
    source: str | None = None
    model: str | None = None
    dtype: str | None = None
    form: HeadForm | None = None
    regime: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A text with its heads, on the layers of a model, on a device.

    Attributes:
        trace: The text and the outputs of its heads, at the depths they have in the model.
        latencies: What the work takes on the device.
        model: Name of the model whose layers run.
        sources: The profiles it was made of, with their provenance.
        options: What it was made with.
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
    sources: Sources
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
        HeadsError: If the outputs of heads of this form cannot be derived.
    """
    options = options or ScenarioOptions()
    sources = Sources.of(profile, trace, source=options.source, model=options.model)
    return make_scenario(sources, options, heads_at=heads_at, cap=cap)


def make_scenario(
    sources: Sources,
    options: ScenarioOptions,
    *,
    heads_at: Mapping[int, int] | None = None,
    cap: int = DEFAULT_CAP,
) -> Scenario:
    """Make a scenario of profiles that were resolved already; see `find_scenario`.

    Args:
        sources: The profiles, resolved with the ``source`` and ``model`` of the options.
        options: See `find_scenario`, as for the others.
        heads_at: See `find_scenario`.
        cap: See `find_scenario`.
    """
    layers = _layers(sources, options.model)
    if options.form is not None and layers.shape is not None:
        options.form.check_shape(layers.shape)
    trace = _place_heads(sources.trace, heads_at, layers)
    trace, assumed = in_form(sources.text, sources.text_origin, trace, options.form)
    form = options.form or sources.recorded_form
    chosen = _choose_latencies(sources, layers, options, RequiredWork.of(trace, cap, form))
    if trace.has_gates:
        latencies = with_gates(chosen.latencies, trace.depths)
        chosen = replace(chosen, latencies=latencies)
    reasons = _reasons(sources, layers, heads_at)
    return Scenario(
        trace=trace,
        latencies=chosen.latencies,
        model=layers.name,
        sources=sources,
        options=options,
        measured=sources.profile if chosen.latencies.basis == "measured" else None,
        rejecting=_move_cells(sources.rejecting, heads_at),
        hypothetical=bool(reasons),
        precision=chosen.precision,
        form=form,
        device=chosen.device,
        deployment=chosen.deployment,
        notes=(
            *reasons,
            *chosen.latencies.notes,
            *luck_notes(sources.text_origin),
            *assumed,
            *_precision_notes(sources, options.dtype),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Layers:
    """Whose layers run; shape and parameters are None where they are unknown."""

    name: str
    n_layers: int
    parameters: int | None
    shape: ModelShape | None


def _layers(sources: Sources, model: str | None) -> _Layers:
    if sources.profile is None or sources.origin is None:
        if model:
            shape = find_model(model)
        else:
            name = str(sources.text.manifest["model"]["name"])
            shape = replace(sources.text_origin.require_shape(), name=name)
        return _Layers(
            name=shape.name, n_layers=shape.n_layers, parameters=shape.total_parameters, shape=shape
        )
    about = sources.profile.manifest["model"]
    return _Layers(
        name=sources.origin.require_shape().name if model else str(about["name"]),
        n_layers=sources.profile.n_layers,
        parameters=about.get("n_parameters"),
        shape=sources.origin.shape,
    )


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


def _choose_latencies(
    sources: Sources, layers: _Layers, options: ScenarioOptions, work: RequiredWork
) -> ChosenLatencies:
    """Return measured latencies where nothing else is wanted, else carried or datasheet ones."""
    target = Target(
        device=options.device,
        source=options.source,
        dtype=options.dtype,
        work=work,
        regime=None if options.regime is None else Regime.named(options.regime),
    )
    if sources.profile is not None and sources.origin is not None:
        return recorded_latencies(sources.profile, sources.origin, target)
    assert layers.shape is not None, "a datasheet needs the shape of its model"
    recorded = None if options.model else sources.text_origin.require_precision()
    return datasheet_choice(layers.shape, recorded, target)


def _reasons(sources: Sources, layers: _Layers, heads_at: Mapping[int, int] | None) -> list[str]:
    """Return why a prediction is hypothetical, a sentence each; none where it is not."""
    text = sources.text
    about = text.manifest["model"]
    ours, theirs = about.get("n_parameters"), layers.parameters
    differ = text.n_layers != layers.n_layers or bool(
        ours and theirs and abs(ours / theirs - 1) > SAME_PARAMETERS
    )
    reasons = hypothetical_notes(sources.text_origin)
    if text is not sources.profile and differ:
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


def _precision_notes(sources: Sources, dtype: str | None) -> list[str]:
    """Return a note where the model would run in another number format than its text is from."""
    if sources.text_origin.is_synthetic:
        return []
    spoken_in = sources.text_origin.require_precision()
    runs_in = sources.origin.require_precision() if sources.origin else spoken_in
    weights = runs_in.weights if dtype is None else Precision.of(dtype, runs_in.activations).weights
    if weights == spoken_in.weights:
        return []
    note = (
        f"the text was recorded in {spoken_in}: with {weights} weights, model and heads may say "
        "something else"
    )
    return [note]


def _move_cells(cells: Sequence[Cell], heads_at: Mapping[int, int] | None) -> tuple[Cell, ...]:
    """Return the cells with their heads where they stand now, without those that lost a head."""
    if heads_at is None:
        return tuple(cells)
    return tuple(
        (replace(design, placement=tuple(heads_at[head] for head in design.placement)), prompt)
        for design, prompt in cells
        if set(design.placement) <= set(heads_at)
    )
