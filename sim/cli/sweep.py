"""``adadecode-sim sweep``: every design of a space on every device asked for, and which is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adadecode.profiles.errors import DesignError, HeadsError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.options import (
    HeadDtypeOption,
    JsonOption,
    ShortlistOption,
    form_of_options,
    path_of,
    print_json,
)
from adadecode.sim.cli.tables.heads import listed, marked
from adadecode.sim.core.design import DEFAULT_CAP, Policy
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.core.parsing import integers, numbers, parse_head_map
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.prediction.caveats import ONE_PROMPT
from adadecode.sim.prediction.scenario import DATASHEET, Scenario, ScenarioOptions
from adadecode.sim.sweep.devices import RECORDED, device_scenario, make_evaluator, scenario_shape
from adadecode.sim.sweep.executor import workers
from adadecode.sim.sweep.head_forms import AnyEvaluator, form_named
from adadecode.sim.sweep.objective import OBJECTIVES, checked_objectives
from adadecode.sim.sweep.runner import SweepPlan, run_sweep
from adadecode.sim.sweep.space import GAMMAS, Space
from adadecode.sim.sweep.store import Sweep

EXHAUSTIVE = 100_000
"""A space up to this size is gone through: half a minute on two cores for the text of the demo profile. A larger one is searched."""

TRIALS = 2000


def sweep(
    latency: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE",
            help=f"A directory that adadecode-profile wrote; or {DATASHEET}.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIRECTORY",
            parser=path_of,
            help="Directory for the results; an interrupted sweep goes on.",
            show_default=False,
        ),
    ],
    gammas: Annotated[
        str, typer.Option(help="Thresholds, the same for all heads of a design.")
    ] = ",".join(map(str, GAMMAS)),
    slopes: Annotated[
        str,
        typer.Option(
            help="How much surer shallow heads must be than deep ones (SpecBound's schedules); 0: not."
        ),
    ] = "0",
    max_heads: Annotated[int, typer.Option(help="Heads of the largest placement.")] = 3,
    heads: Annotated[
        str | None,
        typer.Option(
            help="Depths to choose from; all trained ones by default.", show_default=False
        ),
    ] = None,
    caps: Annotated[str, typer.Option(help="Most drafts in a round.")] = str(DEFAULT_CAP),
    policies: Annotated[
        str, typer.Option(help=f"Of {', '.join(Policy)}.")
    ] = Policy.ADADECODE.value,
    devices: Annotated[
        str,
        typer.Option(
            help=f"Names of the catalogue or FILE.toml, and {RECORDED} for the profile's own machine; the first decides a search."
        ),
    ] = RECORDED,
    objective: Annotated[
        str,
        typer.Option(
            help=f"What to make best, of {', '.join(OBJECTIVES)}; more than one gives a Pareto front."
        ),
    ] = "tpot",
    method: Annotated[
        str,
        typer.Option(
            help=f"auto, exhaustive or optuna; auto goes through up to {EXHAUSTIVE:,} designs."
        ),
    ] = "auto",
    trials: Annotated[int, typer.Option(help="Designs that optuna tries.")] = TRIALS,
    domain: Annotated[
        str | None, typer.Option(help="Only prompts of this domain.", show_default=False)
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(
            help="The profile whose text is replayed, where it is not PROFILE.", show_default=False
        ),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Where heads of the trace stand in the model, like 3:8,7:16.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="The device of PROFILE, where it does not say.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model of PROFILE, where it does not say.", show_default=False),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Weights in another format.", show_default=False)
    ] = None,
    shortlist: ShortlistOption = None,
    head_dtype: HeadDtypeOption = None,
    head_forms: Annotated[
        str | None,
        typer.Option(
            "--head-forms",
            help="Forms of the heads to choose from, like full,int8,shortlist:4096,shortlist:4096+int8; as recorded by default.",
            show_default=False,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="A Dask scheduler to run on, tcp://HOST:PORT.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of this process; one a core by default.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a whole design space; say which design is best, how sure that is, and whether it is proven to be the best of the space."""
    most = _several("--caps", integers("--caps", caps))
    options = ScenarioOptions(
        source=source,
        model=model,
        dtype=dtype,
        form=form_of_options(shortlist, head_dtype),
    )
    by_form_options = (
        [options]
        if head_forms is None
        else [replace(options, form=form) for form in _forms(head_forms, options.form)]
    )
    profile = None if latency == DATASHEET else read_profile(latency)
    spoken = None if trace is None else read_profile(trace)
    text = spoken or profile
    mapped = None if mapping is None else parse_head_map(mapping)
    by_form = [
        [
            device_scenario(profile, one, name.strip(), spoken, mapped, max(most))
            for name in devices.split(",")
        ]
        for one in by_form_options
    ]
    scenarios = [one for part in by_form for one in part]
    first = scenarios[0]
    chosen = None if heads is None else _several("--heads", integers("--heads", heads))
    space = Space.among(
        first.trace.depths,
        first.trace.n_layers,
        depths=chosen,
        policies=_policies(policies),
        gammas=tuple(_several("--gammas", numbers("--gammas", gammas))),
        slopes=tuple(_several("--slopes", numbers("--slopes", slopes))),
        caps=tuple(most),
        max_heads=max_heads,
        forms=tuple(part[0].form for part in by_form) if len(by_form) > 1 else (),
    )
    objectives = checked_objectives(word.strip() for word in objective.split(","))
    assert text is not None
    evaluator = make_evaluator(by_form, domain, max(most), scenario_shape(first, text, model))
    plan = SweepPlan(
        space=space,
        objectives=objectives,
        sources=_sources(profile, text, by_form, evaluator, domain),
        trials=_trials(method, trials, space.size),
    )
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("designs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with workers(evaluator, scheduler, threads) as submit, bar:
        task = bar.add_task("designs", total=None)
        done = run_sweep(
            plan,
            evaluator,
            submit,
            out,
            _about(first, scenarios),
            lambda n, total: bar.update(task, completed=n, total=total),
        )
    if as_json:
        print_json(done.about)
    else:
        _tell(done)


_Number = TypeVar("_Number", int, float)


def _several(option: str, found: list[_Number]) -> list[_Number]:
    """Return the numbers that an option names, each once. Raises DesignError for none."""
    if not found:
        raise DesignError(f"wanted one number or more as {option}, got none")
    return list(dict.fromkeys(found))


def _forms(words: str, alone: HeadForm | None) -> list[HeadForm]:
    """The forms to choose from, each once. alone: what the options for a single form name. Raises HeadsError."""
    if alone is not None:
        raise HeadsError(
            "--head-forms names all the forms there are to choose from: leave --shortlist and --head-dtype out"
        )
    return list(dict.fromkeys(form_named(word.strip()) for word in words.split(",")))


def _policies(words: str) -> tuple[Policy, ...]:
    try:
        return tuple(dict.fromkeys(Policy(word.strip()) for word in words.split(",")))
    except ValueError:
        raise DesignError(
            f"unknown policy among {words!r}: known are {', '.join(Policy)}"
        ) from None


def _trials(method: str, trials: int, size: int) -> int:
    """How many to try; 0 for all."""
    if method not in ("auto", "exhaustive", "optuna"):
        raise DesignError(f"wanted --method auto, exhaustive or optuna, got {method!r}")
    if trials < 1:
        raise DesignError(f"wanted one trial or more, got {trials}")
    return trials if method == "optuna" or (method == "auto" and size > EXHAUSTIVE) else 0


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


def _tell(done: Sweep) -> None:
    """The best on each device, for people."""
    about, console = done.about, Console()
    how = (
        "every design of the space was tried"
        if about["optimal"]
        else "a search, so a better one may be left"
    )
    title = f"best by {about['objectives'][0]} of {about['designs']:,} designs ({how})"
    table = Table(
        title=marked(title, hypothetical=bool(about["hypothetical"])), title_justify="left"
    )
    for name in ("device", "basis", "best design", "speedup", "interval", "ms a token"):
        table.add_column(
            name,
            justify="left" if name in ("device", "basis", "best design") else "right",
            overflow="fold",
        )
    bases = {(one["device"], one.get("form")): one["basis"] for one in about["devices"]}
    for device, best in about["best"].items():
        low, high = best["speedup_low"], best["speedup_high"]
        interval = "-" if low is None or high is None else f"{low:.2f} .. {high:.2f}"
        basis = bases.get((device, best.get("form"))) or next(
            basis for (name, _), basis in bases.items() if name == device
        )
        table.add_row(
            device,
            basis,
            best["design"],
            f"{best['speedup']:.2f} x",
            interval,
            f"{best['tpot_s'] * 1e3:.3f}",
        )
    console.print(table)
    latencies = {note for one in about["devices"] for note in one["notes"]}
    console.print(Group(*listed(note for note in about["notes"] if note not in latencies)))
    for device, best in about["best"].items():
        prompts, held = best["prompts"], best["held_out"]
        told = f"{device}: {_of_others(prompts)}"
        if refined := best["refined_from"]:
            proof = "proven the best of the space" if about["optimal"] else "the best found"
            told += f"; {refined} is {proof} ({best['unrefined_speedup']:.2f} x), its thresholds were then changed one at a time"
        elif about["optimal"]:
            told += "; proven the best of the space"
        if forms := best.get("forms"):
            each = ", ".join(f"{form} {one['speedup']:.2f} x" for form, one in forms.items())
            told += f"; the best with each form of heads: {each}"
        if ceiling := best["oracle"].get("same_heads"):
            told += f"; an oracle on the same heads {ceiling['speedup']:.2f} x"
        if held:
            told += f"; chosen on half of the prompts {held['chosen']:.2f} x, the same on the other half {held['elsewhere']:.2f} x"
        console.print(f"- {told}", highlight=False)
    console.print(
        f"{done.path}: next, adadecode-sim report {done.path} --out report.html", highlight=False
    )


def _of_others(prompts: dict[str, Any]) -> str:
    """How far the speedup would differ with other prompts (`adadecode.sim.prediction.evaluator.Evaluator.over_prompts`), in words."""
    if prompts["count"] < 2:
        return ONE_PROMPT
    return f"other prompts like these would give {prompts['speedup_low']:.2f} .. {prompts['speedup_high']:.2f} x"
