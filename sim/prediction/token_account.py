"""What an output token of one design costs in FLOPs, bytes and joules, compared with vanilla's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, DeviceError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.parsing import scale_head_map
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.fit import check_fits
from adadecode.sim.hardware.launch_regime import Regime
from adadecode.sim.hardware.memory import Deployment, packed_dtype
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.prediction.accounting import Accounting, accounting, measured_power
from adadecode.sim.prediction.caveats import hypothetical_notes, luck_notes
from adadecode.sim.prediction.scenario import SAME_PARAMETERS, ScenarioOptions, find_scenario
from adadecode.sim.prediction.shortlist_trace import in_form
from adadecode.sim.prediction.token_energy import TokenEnergy, energy_notes, token_energy
from adadecode.sim.replay.branch_model import BranchModel


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
    trace: Profile | None = None,
) -> TokenAccount:
    """Count the work of one design on a text.

    Args:
        profile: Whose model and latencies are taken, and whose text is replayed.
        make_design: Makes the design, of the depths at which heads stand in the model.
        options: The model whose work is counted, its number formats, and the device that it takes
            energy on; by default the recorded model, and no device.
        heads_at: Where each head of the text stands in another model, by the depth it was trained
            at.
        trace: The profile whose text is replayed, where it is another one.

    Raises:
        DesignError: If the design or ``heads_at`` does not fit the model, or another model is named
            beside another text.
        DeviceError: If a device is unknown, the model does not fit on it, or it has no such regime.
        ShapeError: If the shape of the model is unknown.
    """
    options = options or ScenarioOptions()
    if trace is not None and options.model is not None:
        raise DesignError(
            f"with --trace the model is that of {profile.path}: leave --model out, or give the "
            "recording of the text alone"
        )
    work = _find_work(profile, profile if trace is None else trace, options, heads_at)
    design = make_design(work.trace.depths)
    priced = _price(profile, trace, work, design, options, heads_at)
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
        measured_watts=None if trace else measured_power(profile).get(design.label),
        hypothetical=work.hypothetical,
        notes=(
            *work.notes,
            *priced.notes,
            *energy_notes(
                energy,
                times_have_ends=priced.latencies is not None and priced.latencies.has_ends,
            ),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The model whose work is counted, and the text with its heads where they stand in it."""

    shape: ModelShape
    dtype: str
    cache: str | None
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
    profile: Profile,
    text: Profile,
    options: ScenarioOptions,
    heads_at: Mapping[int, int] | None,
) -> _Work:
    """Find the model and place the heads in it. Raises DesignError, ProfileError, ShapeError."""
    if text.prompts.empty:
        raise ProfileError(
            f"{text.path} holds latencies alone, and no text to replay: give a profile that "
            "adadecode-profile recorded as --trace"
        )
    provenance, about = Provenance.of(text), text.manifest["model"]
    layers = provenance if text is profile else Provenance.of(profile)
    recorded = layers.require_precision()
    if options.model is None:
        name = str(profile.manifest["model"]["name"])
        shape = replace(layers.require_shape(), name=name)
        precision = recorded.with_weights(options.dtype)
    else:
        shape = find_model(options.model)
        precision = Precision.of(options.dtype or packed_dtype(shape) or "bf16", "bf16")
    parameters = about.get("n_parameters") or shape.total_parameters
    own = text is profile and options.model is None
    other_model = not own and abs(shape.total_parameters / parameters - 1) > SAME_PARAMETERS
    placed = options.model is not None or text is not profile
    trace = _place_heads(Trace.from_profile(text), shape, heads_at, placed=placed)
    hypothetical = other_model or heads_at is not None
    notes = (
        [f"hypothetical: the text is of {about['name']}, which is no {shape.name}"]
        if hypothetical
        else []
    )
    replayed = hypothetical_notes(provenance)
    trace, assumed = in_form(text, provenance, trace, options.form)
    return _Work(
        shape=shape,
        dtype=precision.weights,
        cache=precision.cache,
        cost=precision.cost(shape, options.form or provenance.timed_form),
        trace=trace,
        hypothetical=hypothetical or bool(replayed),
        notes=(*notes, *replayed, *luck_notes(provenance), *assumed),
    )


def _place_heads(
    trace: Trace,
    shape: ModelShape,
    heads_at: Mapping[int, int] | None,
    *,
    placed: bool,
) -> Trace:
    """Return the trace with its heads in a model, another one where they may be ``placed``."""
    if heads_at is not None:
        if not placed:
            raise DesignError(
                "--map says where heads stand in another model: name it with --model, or give the "
                "text of another profile with --trace"
            )
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
    text: Profile | None,
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
            Provenance.of(profile).check_regime(Regime.named(options.regime))
            raise DeviceError(
                "--regime says how a device runs the work: name the device with --to, or leave "
                "--regime out"
            )
        return _Priced()
    device = find_device(options.device)
    here = Provenance.of(profile, options.source)
    if options.model is None and here.is_of_several(device):
        device = here.together(device)
    else:
        check_fits(_deployment(work, design), device)
    if device.tdp_watts is None:
        return _Priced(
            device=device,
            notes=(f"the watts of {device.name} are unknown: no joules without them",),
        )
    if options.model is not None:
        options = replace(options, dtype=work.dtype)
    latencies = _latencies(profile, text, options, heads_at, design.cap)
    return _Priced(device=device, latencies=latencies, notes=latencies.notes)


def _latencies(
    profile: Profile,
    text: Profile | None,
    options: ScenarioOptions,
    heads_at: Mapping[int, int] | None,
    cap: int,
) -> DeviceLatencies:
    """Return the recorded latencies carried to the device, or those of its datasheet.

    The datasheet stands in for another model, and where nobody knows what was recorded on.
    """
    if text is not None:
        return find_scenario(profile, options, trace=text, heads_at=heads_at, cap=cap).latencies
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
        cache_dtype=work.cache,
        form=work.cost.form,
    )
