"""``adadecode-sim timeline``: the schedule of one prompt as a Chrome trace and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adadecode.profiles.errors import InputError, ProfileError
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options import (
    CapOption,
    GammaOption,
    HeadsOption,
    PolicyOption,
    ProfileArgument,
    VerifyOption,
    design_of,
)
from adadecode.sim.core.design import DEFAULT_CAP, Policy
from adadecode.sim.measurements.runs import instrumented_runs
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import ReplayedRun, replay, replay_measured
from adadecode.sim.visualization.chrome_trace import chrome_trace
from adadecode.sim.visualization.schedule_figure import cells, schedule_figure
from adadecode.sim.visualization.schedule_svg import draw_schedule


def timeline_command(
    path: ProfileArgument,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Chrome trace JSON to write; open it in ui.perfetto.dev.",
            show_default=False,
        ),
    ],
    policy: PolicyOption = Policy.ADADECODE.value,
    gamma: GammaOption = "0.75",
    heads: HeadsOption = None,
    cap: CapOption = DEFAULT_CAP,
    verify: VerifyOption = True,
    prompt: Annotated[
        int | None,
        typer.Option("--prompt", help="Which prompt; the first by default.", show_default=False),
    ] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="Add the instrumented run of this design and prompt.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Also draw the first rounds.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="The same to zoom into (needs plotly).", show_default=False),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds to draw.")] = 6,
) -> None:
    """Write the timeline of one prompt, simulated and, where asked for, measured."""
    profile = read_profile(path)
    predictor = Predictor.of(profile)
    trace = predictor.trace
    design = design_of(
        trace.depths, policy=policy, gamma=gamma, heads=heads, cap=cap, verify=verify
    )
    chosen = prompt if prompt is not None else trace.prompts[0]
    simulated = replay(
        trace, predictor.latency, design, [chosen], model=predictor.model, events=True
    )[0]
    runs: dict[str, ReplayedRun] = {f"simulated: {design.label}, prompt {chosen}": simulated}
    if measured:
        found = [
            works
            for (other, p), _, works in instrumented_runs(profile)
            if (other.label, p) == (design.label, chosen)
        ]
        if not found:
            known = (
                ", ".join(
                    sorted(
                        {
                            f"{other.label} (prompt {p})"
                            for (other, p), _, _ in instrumented_runs(profile)
                        }
                    )
                )
                or "none"
            )
            raise ProfileError(
                f"no instrumented run of {design.label} on prompt {chosen} in {path}: it holds {known}"
            )
        runs[f"measured: {design.label}, prompt {chosen}"] = replay_measured(
            trace, found[0], design, chosen, model=predictor.model, events=True
        )
    boundaries = design.boundaries(trace.n_layers)
    _write(out, json.dumps(chrome_trace(runs, boundaries)) + "\n")
    title, shown = list(runs.items())[-1]
    drawn = cells(shown, boundaries, rounds=rounds)
    if svg is not None:
        _write(svg, draw_schedule(drawn, boundaries, title=title))
    if html is not None:
        _write(html, schedule_figure(drawn, boundaries, title=title).to_html(include_plotlyjs=True))
    for written in filter(None, (out, svg, html)):
        Console().print(f"wrote {written}", highlight=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): name a file in a directory that exists"
        ) from None
