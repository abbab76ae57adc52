"""The section on how well predictions agree with the measured runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Drawing, Figure, Section, Table
from adadecode.sim.report.plotting import empty_figure, mark_diagonal, plain_numbers
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.validation.result import Validation

if TYPE_CHECKING:
    import plotly.graph_objects as go

TIERS = {
    "replay_error": ("T1", "run time, replayed from measured durations"),
    "prediction_error": ("T2", "run time, from latencies measured apart"),
    "speedup_error": ("T2", "speedup over vanilla"),
}
"""The errors of `Validation.to_dict`: the tier of each, and what is compared."""

NOISE = {"time_difference": "run time", "speedup_difference": "speedup"}
"""The differences between repeats in `Validation.to_dict`, and what is compared."""


def validation_section(data: ProfileData) -> Section | None:
    """Return the section; None if nothing was run."""
    validation = data.validation
    if validation is None or data.predictor is None:
        return None
    trace = data.predictor.trace
    items: list[Figure | Table] = [_tiers_table(validation)]
    cells = validation.cells.assign(
        domain=[trace.domain(prompt) for prompt in validation.cells["prompt"]]
    )
    designs = validation.by_design()
    if (cells["speedup"].notna() & (cells["policy"] != Policy.VANILLA)).any():
        items += [_agreement_item(cells), _errors_item(designs)]
    items.append(_errors_table(designs))
    notes = []
    if validation.left_out:
        runs = formatting.plural(validation.left_out, "unverified run")
        notes.append(f"{runs} left out: their text is not the trace's.")
    return Section(
        name="truth-section",
        title="How true it is: predicted against measured",
        lead="The simulator is compared with the profile's own runs, tier by tier.",
        items=tuple(items),
        notes=tuple(notes),
    )


def _tiers_table(validation: Validation) -> Table:
    summary = validation.to_dict()
    structure = summary["structure"]
    rows: list[dict[str, object]] = []
    if structure["runs"]:
        compared = (
            f"rounds of the replay and of the run: {structure['exact']} of {structure['runs']} "
            f"are the same, {structure['explained']} explained by a near-tie"
        )
        rows.append({"tier": "T0", "what": compared, "median": float("nan"), "p90": float("nan")})
    for key, (tier, what) in TIERS.items():
        rows.append({"tier": tier, "what": what, **_numbers(summary[key])})
    for key, what in NOISE.items():
        compared = f"even against odd repeats of the same runs: {what}"
        rows.append({"tier": "floor", "what": compared, **_numbers(summary["repeats"][key])})
    return Table(
        name="tiers",
        title="Tiers",
        frame=pd.DataFrame(rows),
        columns={
            "tier": ("tier", "text"),
            "what": ("what is compared", "text"),
            "median": ("median error", "percent"),
            "p90": ("90th percentile", "percent"),
        },
        caption=(
            "The noise floor is how far the same runs differ when they are measured again: no "
            "prediction can be much nearer than about half of it. T3, other devices, needs a "
            "recording there."
        ),
    )


def _numbers(spread: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in spread.items()}


def _agreement_item(cells: pd.DataFrame) -> Figure:
    return Figure(
        name="truth",
        title="Predicted against measured speedup",
        caption=(
            "A dot for every design and prompt: the nearer to the dotted line, the better the "
            "prediction. Nothing was fitted to the runs that are predicted."
        ),
        drawings={(): Drawing(figure=agreement_figure(cells))},
        half=True,
    )


def _errors_item(designs: pd.DataFrame) -> Figure:
    predicted = designs[designs["prediction_error"].notna()]
    return Figure(
        name="errors",
        title="Errors by design (T2)",
        caption="The median error of the predictions over prompts, in either direction.",
        drawings={(): Drawing(figure=errors_figure(predicted))},
        half=True,
    )


def _errors_table(designs: pd.DataFrame) -> Table:
    return Table(
        name="errors-table",
        title="Errors by design",
        frame=designs,
        columns={
            "design": ("design", "text"),
            "runs": ("runs", "count"),
            "exact": ("T0 exact", "count"),
            "replay_error": ("T1", "percent"),
            "prediction_error": ("T2 time", "percent"),
            "speedup_error": ("T2 speedup", "percent"),
            "modelled": ("time modelled", "percent"),
        },
        folded=True,
    )


def agreement_figure(cells: pd.DataFrame) -> go.Figure:
    """Draw the predicted against the measured speedup of every design and prompt.

    Args:
        cells: `Validation.cells`, with the column domain.
    """
    import plotly.graph_objects as go

    shown = cells[
        cells["speedup"].notna()
        & cells["predicted_speedup"].notna()
        & (cells["policy"] != Policy.VANILLA)
    ]
    figure = empty_figure(height=400, hovermode="closest")
    for number, (domain, part) in enumerate(shown.groupby("domain", sort=True)):
        colour = theme.SERIES[number % len(theme.SERIES)]
        figure.add_trace(
            go.Scatter(
                name=formatting.in_plot(domain),
                x=plain_numbers(part["speedup"]),
                y=plain_numbers(part["predicted_speedup"]),
                mode="markers",
                marker={"size": 7, "opacity": 0.75, "color": colour},
                customdata=[
                    [formatting.in_plot(design), int(prompt)]
                    for design, prompt in zip(part["design"], part["prompt"], strict=True)
                ],
                hovertemplate=(
                    "%{customdata[0]}, prompt %{customdata[1]}<br>"
                    "measured %{x:.2f}×, predicted %{y:.2f}×<extra></extra>"
                ),
            )
        )
    low = float(shown[["speedup", "predicted_speedup"]].min().min()) * 0.96
    high = float(shown[["speedup", "predicted_speedup"]].max().max()) * 1.04
    figure.update_xaxes(title_text="measured speedup", ticksuffix="×", range=[low, high])
    figure.update_yaxes(title_text="predicted speedup", ticksuffix="×", range=[low, high])
    return mark_diagonal(figure, low, high)


def errors_figure(by_design: pd.DataFrame) -> go.Figure:
    """Draw the median error of run time and speedup of each design.

    Args:
        by_design: Columns design, prediction_error and speedup_error (shares, magnitudes).
    """
    import plotly.graph_objects as go

    rows = by_design.iloc[::-1]
    figure = empty_figure(height=400, hovermode="closest", barmode="group", bargap=0.35)
    for name, column, colour in (
        ("speedup", "speedup_error", theme.SERIES[2]),
        ("run time", "prediction_error", theme.SERIES[0]),
    ):
        figure.add_trace(
            go.Bar(
                name=name,
                x=plain_numbers(rows[column], 100),
                y=[formatting.in_plot(label) for label in rows["design"]],
                orientation="h",
                marker={"color": colour},
                hovertemplate=f"%{{y}}<br>{name}: %{{x:.1f}} %<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="median error, %")
    figure.update_yaxes(showgrid=False, type="category")
    figure.update_layout(legend_traceorder="reversed")
    return figure
