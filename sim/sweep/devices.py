"""The devices of a sweep: a scenario and an evaluator for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, ShapeError
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.memory import Deployment
from adadecode.sim.hardware.precision import ordinary
from adadecode.sim.prediction.accounting import measured_power
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.prediction.scenario import Scenario, ScenarioOptions, make_scenario
from adadecode.sim.prediction.sources import Sources
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.sweep.head_forms import AnyEvaluator, FormedEvaluator
from adadecode.sim.sweep.plan import RECORDED
from adadecode.sim.validation.intervals import MeasuredMisses


def device_scenario(
    sources: Sources,
    options: ScenarioOptions,
    device: str,
    heads_at: Mapping[int, int] | None,
    cap: int,
) -> Scenario:
    """Return the scenario of one device of a sweep.

    Its latencies are as measured, or carried there; from a machine that the catalogue does not
    know, they are from the device's datasheet alone.

    Args:
        sources: The profiles, resolved with the ``source`` and ``model`` of the options.
        options: What does not depend on the device; ``device`` is not used.
        device: A name of the catalogue, the path of a TOML file, or `RECORDED`.
        heads_at: Where the heads of the text stand in the model.
        cap: Most drafts in a round.

    Raises:
        InputError: As `adadecode.sim.prediction.scenario.find_scenario` does.
    """
    if device == RECORDED:
        # Heads in another form are priced on a device that is known, unless they were timed too.
        target = None if options.form is None else options.source
        return make_scenario(sources, replace(options, device=target), heads_at=heads_at, cap=cap)
    options = replace(options, device=device)
    origin = sources.origin
    known = origin is not None and (origin.device is not None or origin.on_cpu)
    if sources.profile is None or origin is None or known:
        return make_scenario(sources, options, heads_at=heads_at, cap=cap)
    target_device, dtype = find_device(device), options.dtype
    if dtype is None and origin.require_precision().activations not in target_device.peak_flops:
        dtype = ordinary(target_device)
    scenario = make_scenario(
        sources.without_latencies(), replace(options, dtype=dtype), heads_at=heads_at, cap=cap
    )
    latencies = scenario.latencies
    note = (
        f"{sources.profile.name} was recorded on a machine that the catalogue does not know: "
        "nothing is carried from there, --from would"
    )
    return replace(scenario, latencies=replace(latencies, notes=(*latencies.notes, note)))


def scenario_shape(scenario: Scenario) -> ModelShape | None:
    """Return the shape of the model whose layers run; None where it is unknown."""
    with suppress(ShapeError):
        if scenario.options.model is not None:
            return find_model(scenario.options.model)
        text_shape = scenario.sources.text_origin.require_shape
        shape = find_model(scenario.model) if scenario.hypothetical else text_shape()
        return shape if shape.n_layers == scenario.trace.n_layers else None
    return None


def make_evaluator(
    by_form: Sequence[Sequence[Scenario]], domain: str | None, cap: int, shape: ModelShape | None
) -> AnyEvaluator:
    """Make the evaluator of a sweep, with one for each form of the heads where there are several.

    Args:
        by_form: The scenarios of all devices, for each form of the heads.
        domain: As for `evaluator_of`, like the others.
        cap: See `evaluator_of`.
        shape: See `evaluator_of`.
    """
    if len(by_form) == 1:
        return evaluator_of(by_form[0], domain, cap, shape)
    # Heads with the same shortlist say the same.
    replays: dict[tuple[int | None, bool], CompiledReplay] = {}
    evaluators: dict[HeadForm, Evaluator] = {}
    for scenarios in by_form:
        form = scenarios[0].form
        if form.tokens not in replays:
            replays[form.tokens] = CompiledReplay.of(scenarios[0].trace)
        evaluators[form] = evaluator_of(scenarios, domain, cap, shape, replays[form.tokens])
    return FormedEvaluator(evaluators=evaluators)


def evaluator_of(
    scenarios: Sequence[Scenario],
    domain: str | None,
    cap: int,
    shape: ModelShape | None,
    replay: CompiledReplay | None = None,
) -> Evaluator:
    """Make an evaluator of several devices on one text.

    Args:
        scenarios: One for each device, all with the same text and heads.
        domain: Replay only the prompts of this domain; by default all.
        cap: The largest cap of the designs.
        shape: Of the model, for FLOPs, bytes and memory; None where it is not known.
        replay: Of the text, where it was compiled already.

    Raises:
        ProfileError: If no prompt has a second output token, or the domain has no prompts.
        LatencyError: If vanilla cannot be priced.
    """
    replay = replay or CompiledReplay.of(scenarios[0].trace)
    measured = next((one.measured for one in scenarios if one.measured is not None), None)
    miss = None if measured is None else MeasuredMisses.of(measured).speedup
    costs = runs = None
    if shape is not None:
        costs = [one.precision.cost(shape, one.form) for one in scenarios]
        runs = [one.deployment or _deployment(one, shape, replay) for one in scenarios]
    return Evaluator.of(
        replay,
        [one.latencies for one in scenarios],
        prompts=replay.of_domain(domain),
        max_tokens=cap + 1,
        costs=costs,
        runs=runs,
        known=_catalogue_entries(scenarios),
        spread=float("nan") if miss is None else miss,
        watts=None if measured is None else _mean_watts(measured),
    )


def _deployment(scenario: Scenario, shape: ModelShape, replay: CompiledReplay) -> Deployment:
    """Return what has to fit on a device where the model was run."""
    return Deployment(
        shape=shape,
        dtype=scenario.precision.weights,
        context=replay.contexts[1],
        form=scenario.form,
    )


def _mean_watts(measured: Profile) -> float | None:
    """Return the mean power over the designs that were run; None where it was not measured."""
    watts = list(measured_power(measured).values())
    return sum(watts) / len(watts) if watts else None


def _catalogue_entries(scenarios: Sequence[Scenario]) -> dict[str, Device]:
    """Return the devices that the catalogue knows, by name."""
    known = {}
    for one in scenarios:
        origin = one.sources.origin
        if one.measured is not None and origin is not None and origin.n_devices > 1:
            if origin.device is not None:
                known[one.latencies.device] = origin.together(origin.device)
            continue
        with suppress(DeviceError):
            known[one.latencies.device] = one.device or find_device(one.latencies.device)
    return known
