"""What an output token of one design costs in FLOPs, bytes and joules, compared with vanilla's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, DeviceError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.parsing import scale_head_map
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.fit import check_fits
from adadecode.sim.hardware.memory import Deployment, packed_dtype
from adadecode.sim.hardware.power import Energy, energy_bounds, over_vanilla
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.prediction.accounting import Accounting, accounting, measured_power
from adadecode.sim.prediction.caveats import hypothetical_notes, luck_notes
from adadecode.sim.prediction.scenario import SAME_PARAMETERS, ScenarioOptions, find_scenario
from adadecode.sim.prediction.shortlist_trace import in_form
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


@dataclass(frozen=True, kw_only=True)
class TokenAccount:
    """What an output token costs.

    Attributes:
        model: Name of the model whose work is counted.
        design: The work of the design.
        vanilla: The work of vanilla.
        energy: On a device whose watts are known; None without one.
        measured_watts: What the recorded machine took while it ran this design; None where nobody
            measured it.
        hypothetical: Whether the text or its heads are another model's.
        notes: What was assumed, a sentence each.
    """

    model: str
    design: Accounting
    vanilla: Accounting
    energy: TokenEnergy | None
    measured_watts: float | None
    hypothetical: bool
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``adadecode-sim account --json`` prints, per output token."""
        plain, ours = self.vanilla, self.design
        return {
            "model": self.model,
            **ours.to_dict(),
            "vanilla": {"flops_per_token": plain.flops.total, "bytes_per_token": plain.bytes.total},
            "flops_over_vanilla": ours.flops.total / plain.flops.total,
            "bytes_over_vanilla": ours.bytes.total / plain.bytes.total,
            "energy": None if self.energy is None else asdict(self.energy),
            "measured_watts": self.measured_watts,
            "hypothetical": self.hypothetical,
            "notes": list(self.notes),
        }


def token_account(
    profile: Profile,
    make_design: Callable[[tuple[int, ...]], Design],
    *,
    options: ScenarioOptions | None = None,
    heads_at: Mapping[int, int] | None = None,
) -> TokenAccount:
    """Count the work of one design on the text of a profile.

    Args:
        profile: Whose text is replayed.
        make_design: Makes the design, of the depths at which heads stand in the model.
        options: The model whose work is counted, its number formats, and the device that it takes
            energy on; by default the recorded model, and no device.
        heads_at: Where each head of the text stands in another model, by the depth it was trained
            at.

    Raises:
        DesignError: If the design or ``heads_at`` does not fit the model.
        DeviceError: If a device is unknown, the model does not fit on it, or it has no such regime.
        ShapeError: If the shape of the model is unknown.
    """
    options = options or ScenarioOptions()
    work = _find_work(profile, options, heads_at)
    design = make_design(work.trace.depths)
    priced = _price(profile, work, design, options, heads_at)
    branches = BranchModel(work.trace)
    ours, plain = (
        accounting(work.trace, one, work.cost, model=branches)
        for one in (design, Design.of(Policy.VANILLA))
    )
    energy = None
    if priced.latencies is not None and priced.device is not None:
        energy = token_energy(work.trace, priced.latencies, priced.device, (ours, plain), branches)
    return TokenAccount(
        model=work.shape.name,
        design=ours,
        vanilla=plain,
        energy=energy,
        measured_watts=measured_power(profile).get(design.label),
        hypothetical=work.hypothetical,
        notes=(*work.notes, *priced.notes, *_energy_notes(energy)),
    )


def _energy_notes(energy: TokenEnergy | None) -> tuple[str, ...]:
    """Return what the ends of the energy do not hold."""
    if energy is None or energy.basis != "measured":
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
    seconds = [
        {
            corner: sum(run.seconds for run in replay(trace, table, one.design, model=model))
            / one.tokens
            for corner, table in latencies.tables.items()
        }
        for one in work
    ]
    amounts = [(one.flops.total, one.bytes.total) for one in work]
    joules, vanilla = (
        _energy(device, each, *amount) for each, amount in zip(seconds, amounts, strict=True)
    )
    ratio = over_vanilla(device.tdp_watts, seconds[0], seconds[1], amounts[0], amounts[1])
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


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The model whose work is counted, and the text with its heads where they stand in it."""

    shape: ModelShape
    dtype: str
    cost: ModelCost
    trace: Trace
    hypothetical: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Priced:
    """The latencies of the device; None where no device is named, or its watts are unknown."""

    device: Device | None = None
    latencies: DeviceLatencies | None = None
    notes: tuple[str, ...] = ()


def _find_work(
    profile: Profile, options: ScenarioOptions, heads_at: Mapping[int, int] | None
) -> _Work:
    """Find the model and place the heads in it. Raises DesignError, ShapeError."""
    provenance, about = Provenance.of(profile), profile.manifest["model"]
    recorded = provenance.require_precision()
    if options.model is None:
        shape = replace(provenance.require_shape(), name=str(about["name"]))
        dtype, activations, other_model = options.dtype, recorded.activations, False
    else:
        shape = find_model(options.model)
        dtype, activations = options.dtype or packed_dtype(shape) or "bf16", "bf16"
        parameters = about.get("n_parameters") or shape.total_parameters
        other_model = abs(shape.total_parameters / parameters - 1) > SAME_PARAMETERS
    trace = _place_heads(Trace.from_profile(profile), shape, options, heads_at)
    hypothetical = other_model or heads_at is not None
    notes = (
        [f"hypothetical: the text is of {about['name']}, which is no {shape.name}"]
        if hypothetical
        else []
    )
    replayed = hypothetical_notes(provenance)
    trace, assumed = in_form(profile, provenance, trace, options.form)
    precision = recorded if dtype is None else Precision.of(dtype, activations)
    return _Work(
        shape=shape,
        dtype=dtype or recorded.weights,
        cost=precision.cost(shape, options.form or provenance.timed_form),
        trace=trace,
        hypothetical=hypothetical or bool(replayed),
        notes=(*notes, *replayed, *luck_notes(provenance), *assumed),
    )


def _place_heads(
    trace: Trace,
    shape: ModelShape,
    options: ScenarioOptions,
    heads_at: Mapping[int, int] | None,
) -> Trace:
    if heads_at is not None:
        if options.model is None:
            raise DesignError("--map says where heads stand in another model: name it with --model")
        return trace.mapped(heads_at, shape.n_layers)
    if trace.n_layers != shape.n_layers:
        in_proportion = scale_head_map(trace.depths, trace.n_layers, shape.n_layers)
        raise DesignError(
            f"{shape.name} has {shape.n_layers} layers, the trace {trace.n_layers}: say where its "
            f"heads would stand, for instance in proportion with --map {in_proportion}"
        )
    return trace


def _price(
    profile: Profile,
    work: _Work,
    design: Design,
    options: ScenarioOptions,
    heads_at: Mapping[int, int] | None,
) -> _Priced:
    """Return what the device needs for the work. Raises DeviceError where it does not fit."""
    if options.source is not None and (options.device is None or options.model is not None):
        raise DeviceError(
            "--from says what the recorded model's latencies are carried from: take it with --to, "
            "and without --model"
        )
    if options.device is None:
        if options.regime is not None:
            raise DeviceError(
                "--regime says how a device runs the work: name the device with --to, or leave "
                "--regime out"
            )
        return _Priced()
    device = find_device(options.device)
    check_fits(_deployment(work, design), device)
    if device.tdp_watts is None:
        return _Priced(
            device=device,
            notes=(f"the watts of {device.name} are unknown: no joules without them",),
        )
    if options.model is not None:
        options = replace(options, dtype=work.dtype)
    latencies = _latencies(profile, options, heads_at, design.cap)
    return _Priced(device=device, latencies=latencies, notes=latencies.notes)


def _latencies(
    profile: Profile, options: ScenarioOptions, heads_at: Mapping[int, int] | None, cap: int
) -> DeviceLatencies:
    """Return the recorded latencies carried to the device, or those of its datasheet.

    The datasheet stands in for another model, and where nobody knows what was recorded on.
    """
    provenance = Provenance.of(profile, options.source)
    known = options.model is None and provenance.device is not None
    if not known:
        options = replace(options, source=None)
    return find_scenario(
        profile if known else None, options, trace=profile, heads_at=heads_at, cap=cap
    ).latencies


def _deployment(work: _Work, design: Design) -> Deployment:
    """Return the model with the heads of a design, on the longest text of the trace."""
    trace = work.trace
    return Deployment(
        shape=work.shape,
        dtype=work.dtype,
        heads=design.placement,
        context=max(trace.n_prompt(p) + trace.n_output(p) for p in trace.prompts),
        prompt=max(trace.n_prompt(p) for p in trace.prompts),
        n_tokens=design.cap + 1,
        form=work.cost.form,
    )
