"""``adadecode-sim sweep``: every design of a space on several devices, and which is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.interruption import on_interrupt
from adadecode.sim.cli.options.catalogue import LayersModel, SourceDevice
from adadecode.sim.cli.options.form import HeadFormOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json, SweepDirectory
from adadecode.sim.cli.options.scenario import (
    HeadMap,
    ProfileOrDatasheet,
    TraceProfile,
    WeightDtype,
    read_latencies,
)
from adadecode.sim.cli.options.sweep import Domain, SearchOptions, SpaceOptions
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.progress import showing_progress
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.prediction.scenario import Scenario, ScenarioOptions
from adadecode.sim.sweep.devices import device_scenario, make_evaluator, scenario_shape
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.head_forms import AnyEvaluator
from adadecode.sim.sweep.runner import SweepPlan, run_sweep
from adadecode.sim.sweep.space import Space


@takes_option_sets
def sweep(
    path: ProfileOrDatasheet,
    *,
    out: SweepDirectory,
    space: SpaceOptions,
    heads: HeadFormOptions,
    domain: Domain = None,
    trace: TraceProfile = None,
    source: SourceDevice = None,
    model: LayersModel = None,
    dtype: WeightDtype = None,
    head_map: HeadMap = None,
    search: SearchOptions,
    as_json: Json = False,
) -> None:
    """Predict a whole design space and find the best design on each device.

    Says how sure that is, and whether the design is proven to be the best of the space.
    """
    space.check_forms(heads.form())
    options = ScenarioOptions(source=source, model=model, dtype=dtype, form=heads.form())
    by_form_options = [options]
    if space.forms is not None:
        by_form_options = [replace(options, form=form) for form in space.forms]
    profile = read_latencies(path)
    spoken = None if trace is None else read_profile(trace)
    text = spoken or profile
    by_form = [
        [
            device_scenario(profile, one, name, spoken, head_map, max(space.caps))
            for name in search.devices
        ]
        for one in by_form_options
    ]
    scenarios = [one for part in by_form for one in part]
    first = scenarios[0]
    designs = Space.among(
        first.trace.depths,
        first.trace.n_layers,
        depths=space.heads,
        policies=space.policies,
        gammas=space.gammas,
        slopes=space.slopes,
        caps=space.caps,
        max_heads=space.max_heads,
        forms=tuple(part[0].form for part in by_form) if len(by_form) > 1 else (),
    )
    assert text is not None
    evaluator = make_evaluator(by_form, domain, max(space.caps), scenario_shape(first, text, model))
    plan = SweepPlan(
        space=designs,
        objectives=search.objectives,
        sources=_sources(profile, text, by_form, evaluator, domain),
        trials=search.trials_for(designs.size),
    )
    kept = f"the designs predicted so far are kept in {out}; run the same command to continue"
    with (
        on_interrupt(kept),
        workers(evaluator, search.scheduler, search.threads) as submit,
        showing_progress("designs") as progress,
    ):
        done = run_sweep(plan, evaluator, submit, out, _about(first, scenarios), progress)
    if as_json:
        print_json(done.about)
        return
    from adadecode.sim.cli.tables.layout import console
    from adadecode.sim.cli.tables.sweep import sweep_tables

    for part in sweep_tables(done):
        console().print(part)
    print(f"{done.path}: next, adadecode-sim report {done.path} --out report.html")


def _sources(
    profile: Profile | None,
    text: Profile,
    by_form: Sequence[Sequence[Scenario]],
    evaluator: AnyEvaluator,
    domain: str | None,
) -> dict[str, Any]:
    """What decides the figures besides the space. devices: with each form of the heads, where there are several."""
    several = len(by_form) > 1
    return {
        "profile": None if profile is None else _named(profile),
        "trace": _named(text),
        "devices": [
            _described(one.latencies, one.form if several else None)
            for part in by_form
            for one in part
        ],
        "prompts": {
            "domain": domain,
            "count": len(evaluator.prompts),
            "chosen": list(evaluator.prompts),
        },
    }


def _named(profile: Profile) -> dict[str, str]:
    return {
        "path": str(profile.path),
        "name": profile.name,
        "digest": str(profile.manifest["digest"]),
    }


def _described(latencies: DeviceLatencies, form: HeadForm | None) -> dict[str, Any]:
    named = {} if form is None else {"form": form.label}
    return {
        "device": latencies.device,
        **named,
        "basis": latencies.basis,
        "notes": list(latencies.notes),
    }


def _about(first: Scenario, scenarios: Sequence[Scenario]) -> dict[str, Any]:
    notes = list(dict.fromkeys(note for one in scenarios for note in one.notes))
    return {
        "model": first.model,
        "hypothetical": any(one.hypothetical for one in scenarios),
        "notes": notes,
    }
