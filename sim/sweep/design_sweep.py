"""Sweep a design space on objects: what `adadecode.sim.sweep` calls."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adadecode.profiles.errors import HeadsError
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.prediction.scenario import Scenario, ScenarioOptions
from adadecode.sim.prediction.sources import Sources
from adadecode.sim.sweep.devices import device_scenario, make_evaluator, scenario_shape
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.head_forms import AnyEvaluator
from adadecode.sim.sweep.objective import checked_objectives
from adadecode.sim.sweep.plan import RECORDED, TRIALS, SweepPlan, trials_for
from adadecode.sim.sweep.runner import Note, Progress, run_sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import Sweep


def sweep(
    profile: Profile | None,
    space: Space | None = None,
    *,
    devices: Sequence[str] = (RECORDED,),
    objectives: Sequence[str] = ("tpot",),
    options: ScenarioOptions | None = None,
    trace: Profile | None = None,
    heads_at: Mapping[int, int] | None = None,
    domain: str | None = None,
    out: Path | None = None,
    method: str = "auto",
    trials: int = TRIALS,
    scheduler: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> Sweep:
    """Predict every design of a space on several devices, and find the best on each.

    Args:
        profile: Where the latencies come from; None takes them from the devices' datasheets.
        space: The designs, bound to a model or not; by default all placements of up to 3 heads.
        devices: Names of the catalogue or paths of TOML files; "recorded" is the machine of the
            profile. A search follows the first.
        objectives: What makes a design good, of
            `adadecode.sim.sweep.objective.OBJECTIVES`. The first decides which is best; with
            several, the Pareto front is marked.
        options: The model and its number formats; ``device`` is not used.
        trace: The profile whose text is replayed, where it is another one.
        heads_at: Where each head of the text stands in the model, by the depth it was trained at.
        domain: Replay only the prompts of this domain; by default all.
        out: A directory for the sweep; one of the same settings is finished or read. By default
            nothing is kept.
        method: "exhaustive", "optuna", or "auto", which searches large spaces.
        trials: Designs that a search tries.
        scheduler: Address of a Dask scheduler to run on; threads of this process without one.
        threads: How many threads; by default one a core.
        progress: Called with how many designs are done, and of how many.
        note: Called with a sentence where a part of an unfinished sweep is damaged and evaluated
            again; by default it is a warning.

    Raises:
        InputError: As `adadecode.sim.prediction.scenario.find_scenario`,
            `adadecode.sim.sweep.executor.workers` and `adadecode.sim.sweep.runner.run_sweep` do.
    """
    chosen, options = space or Space(), options or ScenarioOptions()
    cap = max(chosen.caps)
    sources = Sources.of(profile, trace, source=options.source, model=options.model)
    by_form = [
        [device_scenario(sources, one, name, heads_at, cap) for name in devices]
        for one in _options_by_form(options, chosen.forms)
    ]
    first = by_form[0][0]
    chosen = chosen.bound(first.trace.depths, first.trace.n_layers)
    if chosen.has_gates:
        first.trace.require_gates()
    forms = tuple(scenarios[0].form for scenarios in by_form) if len(by_form) > 1 else ()
    chosen = replace(chosen, forms=forms)
    evaluator = make_evaluator(by_form, domain, cap, scenario_shape(first))
    plan = SweepPlan(
        space=chosen,
        objectives=checked_objectives(objectives),
        sources=_sources(sources, by_form, evaluator, domain),
        trials=trials_for(method, trials, chosen.size),
    )
    about = _about([one for scenarios in by_form for one in scenarios])
    with workers(evaluator, scheduler, threads) as submit:
        if out is not None:
            return run_sweep(plan, evaluator, submit, out, about, progress, note)
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "sweep"
            done = run_sweep(plan, evaluator, submit, kept, about, progress, note)
            return replace(done, path=None)


def _options_by_form(options: ScenarioOptions, forms: Sequence[HeadForm]) -> list[ScenarioOptions]:
    """Return the options with each form of the heads that there is to choose from."""
    if not forms:
        return [options]
    if options.form is not None:
        raise HeadsError(
            "the space names all the forms of the heads there are to choose from: leave the form "
            "out of the options"
        )
    return [replace(options, form=form) for form in forms]


def _sources(
    sources: Sources,
    by_form: Sequence[Sequence[Scenario]],
    evaluator: AnyEvaluator,
    domain: str | None,
) -> dict[str, Any]:
    """Return what decides the figures besides the space, as JSON holds it.

    Devices are listed with each form of the heads, where there are several.
    """
    return {
        "profile": None if sources.profile is None else _identity(sources.profile),
        "trace": _identity(sources.text),
        "devices": [
            _describe(one.latencies, one.form if len(by_form) > 1 else None)
            for scenarios in by_form
            for one in scenarios
        ],
        "prompts": {
            "domain": domain,
            "count": len(evaluator.prompts),
            "chosen": list(evaluator.prompts),
        },
    }


def _identity(profile: Profile) -> dict[str, str]:
    return {
        "path": str(profile.path),
        "name": profile.name,
        "digest": str(profile.manifest["digest"]),
    }


def _describe(latencies: DeviceLatencies, form: HeadForm | None) -> dict[str, Any]:
    return {
        "device": latencies.device,
        **({} if form is None else {"form": form.label}),
        "basis": latencies.basis,
        "regime": latencies.regime and str(latencies.regime),
        "limited_by": dict(latencies.limits),
        "notes": list(latencies.notes),
    }


def _about(scenarios: Sequence[Scenario]) -> dict[str, Any]:
    rate_notes = dict.fromkeys(note for one in scenarios for note in one.latencies.rate_notes)
    return {
        "model": scenarios[0].model,
        "hypothetical": any(one.hypothetical for one in scenarios),
        "notes": list(dict.fromkeys(note for one in scenarios for note in one.notes)),
        **({"rate_notes": list(rate_notes)} if rate_notes else {}),
    }
