"""``adadecode-sim timeline``: the schedule of one prompt as a Chrome trace and as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from adadecode.profiles.atomic_write import write_together
from adadecode.profiles.errors import DesignError, ProfileError
from adadecode.profiles.output_path import check_different
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.cap_hint import explaining_cap
from adadecode.sim.cli.interruption import on_interrupt
from adadecode.sim.cli.options.design import AnyDesignOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.inspection import MeasuredOption, PromptOption, Rounds
from adadecode.sim.cli.options.output import ChromeTraceFile, ScheduleHtmlFile, SvgFile
from adadecode.sim.cli.options.scenario import ProfileDirectory
from adadecode.sim.cli.say import say
from adadecode.sim.core.design import Design
from adadecode.sim.measurements.runs import instrumented_runs
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import ReplayedRun, replay, replay_measured
from adadecode.sim.visualization.chrome_trace import chrome_trace


@takes_option_sets
def timeline(
    path: ProfileDirectory,
    *,
    out: ChromeTraceFile,
    options: AnyDesignOptions,
    prompt: PromptOption = None,
    measured: MeasuredOption = False,
    svg: SvgFile = None,
    html: ScheduleHtmlFile = None,
    rounds: Rounds = 6,
) -> None:
    """Write the schedule of one prompt as a Chrome trace and as a picture.

    The schedule is simulated; --measured adds the recorded one.
    """
    check_different({"--out": out, "--svg": svg, "--html": html})
    profile = read_profile(path)
    predictor = Predictor.of(profile)
    design = options.design(predictor.trace.depths)
    chosen = _prompt(predictor, prompt)
    with explaining_cap(profile, design.cap):
        (simulated,) = replay(
            predictor.trace, predictor.latency, design, [chosen], model=predictor.model, events=True
        )
    runs: dict[str, ReplayedRun] = {f"simulated: {design.label}, prompt {chosen}": simulated}
    if measured:
        runs[f"measured: {design.label}, prompt {chosen}"] = _measured_run(
            profile, predictor, design, chosen
        )
    boundaries = design.boundaries(predictor.trace.n_layers)
    texts: dict[Path, str | bytes] = {out: json.dumps(chrome_trace(runs, boundaries)) + "\n"}
    title, shown = list(runs.items())[-1]
    if svg is not None or html is not None:
        from adadecode.sim.visualization.schedule_cells import cells

        drawn = cells(shown, boundaries, rounds=rounds)
    if svg is not None:
        from adadecode.sim.visualization.schedule_svg import draw_schedule

        texts[svg] = draw_schedule(drawn, boundaries, title=title)
    if html is not None:
        from adadecode.sim.visualization.schedule_figure import schedule_figure

        figure = schedule_figure(drawn, boundaries, title=title)
        texts[html] = figure.to_html(include_plotlyjs=True)
    with on_interrupt("the files named above are complete; run the same command again"):
        write_together(texts)
        for place in texts:
            say(f"wrote {place}")


def _prompt(predictor: Predictor, number: int | None) -> int:
    """Return the number of the prompt to draw. Raises DesignError for one that is not there."""
    known = predictor.trace.prompts
    if number is not None and number not in known:
        raise DesignError(
            f"no prompt {number} in the profile: it holds {', '.join(map(str, known))}"
        )
    return known[0] if number is None else number


def _measured_run(
    profile: Profile, predictor: Predictor, design: Design, prompt: int
) -> ReplayedRun:
    """Replay the instrumented run of a design on a prompt. Raises ProfileError without one."""
    runs = {
        (measured.label, number): works
        for (measured, number), _, works in reversed(list(instrumented_runs(profile)))
    }
    works = runs.get((design.label, prompt))
    if works is None:
        known = ", ".join(sorted(f"{label} (prompt {number})" for label, number in runs)) or "none"
        raise ProfileError(
            f"no instrumented run of {design.label} on prompt {prompt} in {profile.path}: it holds "
            f"{known}"
        )
    return replay_measured(
        predictor.trace, works, design, prompt, model=predictor.model, events=True
    )
