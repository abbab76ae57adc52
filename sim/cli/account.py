"""``adadecode-sim account``: what a committed token costs in FLOPs, bytes and joules, and how much of it was for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.table import Table

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DesignError, DeviceError
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.cli.options import (
    CapOption,
    GammaOption,
    HeadDtypeOption,
    HeadsOption,
    JsonOption,
    PolicyOption,
    ShortlistOption,
    VerifyOption,
    design_of,
    form_of_options,
    print_json,
)
from adadecode.sim.cli.tables.heads import listed, marked
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.core.parsing import parse_head_map, scale_head_map
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.memory import WEIGHT_BYTES, Deployment, check_fits
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.provenance import device_of, form_of, precision_of, shape_of
from adadecode.sim.prediction.accounting import (
    Accounting,
    Energy,
    accounting,
    energy_bounds,
    measured_power,
)
from adadecode.sim.prediction.caveats import hypothetical_notes, luck_notes
from adadecode.sim.prediction.scenario import SAME_PARAMETERS, ScenarioOptions, find_scenario
from adadecode.sim.prediction.shortlist_trace import in_form
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.simulation import replay

SPLIT_LABELS = {
    "useful": "layers, positions that stayed",
    "discarded": "layers, positions dropped",
    "heads": "heads, positions that stayed",
    "heads_discarded": "heads, positions dropped",
    "verify": "verification, rows of use",
    "verify_discarded": "verification, rows dropped",
}
"""The parts of a `adadecode.sim.prediction.accounting.Split`, for people."""


@dataclass(frozen=True, kw_only=True)
class TokenEnergy:
    """Joules of a committed token on one device: what it takes there by the ends of its latencies and of `adadecode.sim.prediction.accounting.energy_bounds`."""

    device: str
    basis: str
    seconds_per_token: float
    joules: Energy


def account(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PROFILE", help="A directory that adadecode-profile wrote.", show_default=False
        ),
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Another model, a name or a config.json; the recorded one by default.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            help=f"Of the weights: {', '.join(WEIGHT_BYTES)}; as recorded by default, bf16 for another model.",
            show_default=False,
        ),
    ] = None,
    policy: PolicyOption = Policy.ADADECODE.value,
    gamma: GammaOption = "0.75",
    heads: HeadsOption = None,
    cap: CapOption = DEFAULT_CAP,
    verify: VerifyOption = True,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="The device to tell joules for: a name of the catalogue, or FILE.toml.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="With --to: the device PROFILE was recorded on, where it does not say.",
            show_default=False,
        ),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="With --model: where heads of the trace stand in it, like 3:8,7:16.",
            show_default=False,
        ),
    ] = None,
    shortlist: ShortlistOption = None,
    head_dtype: HeadDtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell FLOPs and bytes per committed token, split into useful work, discarded work, and heads."""
    profile = read_profile(path)
    trace = Trace.from_profile(profile)
    about, was = profile.manifest["model"], precision_of(profile)
    if model is None:
        shape, hypothetical = replace(shape_of(profile), name=str(about["name"])), False
    else:
        shape, dtype = find_model(model), dtype or "bf16"
        hypothetical = (
            abs(shape.total_parameters / (about.get("n_parameters") or shape.total_parameters) - 1)
            > SAME_PARAMETERS
        )
    asked = form_of_options(shortlist, head_dtype)
    depths = None if mapping is None else parse_head_map(mapping)
    if depths is not None:
        if model is None:
            raise DesignError("--map says where heads stand in another model: name it with --model")
        trace, hypothetical = trace.mapped(depths, shape.n_layers), True
    elif trace.n_layers != shape.n_layers:
        raise DesignError(
            f"{shape.name} has {shape.n_layers} layers, the trace {trace.n_layers}: say where its heads would stand, for instance "
            f"in proportion with --map {scale_head_map(trace.depths, trace.n_layers, shape.n_layers)}"
        )
    cost = (
        was if dtype is None else Precision.of(dtype, "bf16" if model else was.activations)
    ).cost(shape, asked or form_of(profile))
    design = design_of(
        trace.depths, policy=policy, gamma=gamma, heads=heads, cap=cap, verify=verify
    )
    latencies = device = None
    notes = (
        [f"hypothetical: the text is of {about['name']}, which is no {shape.name}"]
        if hypothetical
        else []
    )
    replayed = hypothetical_notes(profile)
    hypothetical = hypothetical or bool(replayed)
    notes += [*replayed, *luck_notes(profile)]
    trace, assumed = in_form(profile, trace, asked)
    notes += assumed
    if source is not None and (to is None or model is not None):
        raise DeviceError(
            "--from says what the recorded model's latencies are carried from: take it with --to, and without --model"
        )
    if to is not None:
        device = find_device(to)
        check_fits(
            replace(_deployment(shape, dtype or was.weights, trace, design), form=cost.form), device
        )
        if device.tdp_watts is None:
            notes.append(f"the watts of {device.name} are unknown: no joules without them")
        else:
            options = ScenarioOptions(
                device=to, source=source, model=model, dtype=dtype, form=asked
            )
            latencies = _latencies(profile, options, depths, cap)
            notes += latencies.notes
    branches = BranchModel(trace)
    ours, plain = (
        accounting(trace, one, cost, model=branches) for one in (design, Design.of(Policy.VANILLA))
    )
    energy = (
        None
        if latencies is None or device is None
        else token_energy(trace, latencies, device, ours, branches)
    )
    watts = measured_power(profile).get(design.label)
    if as_json:
        print_json(
            _told(cost, ours, plain, energy)
            | {"measured_watts": watts, "hypothetical": hypothetical, "notes": notes}
        )
        return
    if watts is not None:
        notes.append(f"measured: {watts:.1f} W while it ran")
    Console().print(
        Group(_table(cost, ours, plain, energy, hypothetical=hypothetical), *listed(notes))
    )


def token_energy(
    trace: Trace, latencies: DeviceLatencies, device: Device, done: Accounting, model: BranchModel
) -> TokenEnergy | None:
    """Joules of a committed token of this design there; None where the device's watts are unknown."""
    seconds = {
        corner: sum(run.seconds for run in replay(trace, table, done.design, model=model))
        / done.tokens
        for corner, table in latencies.tables.items()
        if corner in ("low", "middle", "high")
    }
    bounds = {
        corner: energy_bounds(device, each, done.flops.total, done.bytes.total)
        for corner, each in seconds.items()
    }
    middle = bounds["middle"]
    low, high = bounds.get("low", middle), bounds.get("high", middle)
    if low is None or middle is None or high is None:
        return None
    joules = Energy(low=low.low, middle=middle.middle, high=high.high)
    return TokenEnergy(
        device=latencies.device,
        basis=latencies.basis,
        seconds_per_token=seconds["middle"],
        joules=joules,
    )


def _latencies(
    profile: Profile, options: ScenarioOptions, depths: Mapping[int, int] | None, cap: int
) -> DeviceLatencies:
    """The recorded latencies carried to the device; from its datasheet, where another model is asked about or nobody knows what it was recorded on."""
    known = options.model is None
    try:
        device_of(profile, options.source)
    except DeviceError:
        if options.source is not None:
            raise
        known = False
    measured = profile if known else None
    if measured is None:
        options = replace(options, source=None)
    return find_scenario(measured, options, trace=profile, heads_at=depths, cap=cap).latencies


def _deployment(shape: ModelShape, dtype: str, trace: Trace, design: Design) -> Deployment:
    """The model with these heads, on the longest text of the trace."""
    prompt = max(trace.n_prompt(p) for p in trace.prompts)
    context = max(trace.n_prompt(p) + trace.n_output(p) for p in trace.prompts)
    return Deployment(
        shape=shape,
        dtype=dtype,
        heads=design.placement,
        context=context,
        prompt=prompt,
        n_tokens=design.cap + 1,
    )


def _told(
    cost: ModelCost, ours: Accounting, plain: Accounting, energy: TokenEnergy | None
) -> dict[str, Any]:
    """For programs. Per committed token."""
    return {
        "model": cost.shape.name,
        **ours.to_dict(),
        "vanilla": {"flops_per_token": plain.flops.total, "bytes_per_token": plain.bytes.total},
        "flops_over_vanilla": ours.flops.total / plain.flops.total,
        "bytes_over_vanilla": ours.bytes.total / plain.bytes.total,
        "energy": None if energy is None else asdict(energy),
    }


def _table(
    cost: ModelCost,
    ours: Accounting,
    plain: Accounting,
    energy: TokenEnergy | None,
    *,
    hypothetical: bool,
) -> Table:
    """For people."""
    title = marked(
        f"{cost.shape.name}, {ours.design.label}, {ours.tokens} tokens", hypothetical=hypothetical
    )
    table = Table("per committed token", title=title, title_justify="left")
    for name in ("GFLOP", "share", "GB", "share"):
        table.add_column(name, justify="right")
    for part, words in {**SPLIT_LABELS, "total": "all", "wasted": "of which for nothing"}.items():
        cells = [
            cell
            for split in (ours.flops, ours.bytes)
            for cell in _cells(float(getattr(split, part)), split.total)
        ]
        table.add_row(words, *cells, end_section=part == "verify_discarded")
    flops, moved = (
        f"{mine.total / theirs.total:.2f} x"
        for mine, theirs in ((ours.flops, plain.flops), (ours.bytes, plain.bytes))
    )
    table.add_row("of vanilla's", flops, "", moved, "")
    captions = (
        [f"{ours.modelled_share:.1%} of the FLOPs rest on modelled branches"]
        if ours.modelled_share
        else []
    )
    if energy is not None:
        joules = energy.joules
        captions.append(
            f"on {energy.device}: {energy.seconds_per_token * 1e3:.2f} ms ({energy.basis}), {joules.low:.3g} .. {joules.high:.3g} J, "
            f"{joules.middle:.3g} J in the geometric middle"
        )
    table.caption = "; ".join(captions) or None
    return table


def _cells(amount: float, total: float) -> tuple[str, str]:
    """In billions, and as a share."""
    return f"{amount / 1e9:.4g}", f"{amount / total:.1%}"
