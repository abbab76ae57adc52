"""The section on what speed costs: the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import FORMATS, Choice, Drawing, Figure, Section, Table
from adadecode.sim.report.plotting import empty_figure, plain_numbers
from adadecode.sim.report.sweep import design_tables, wording
from adadecode.sim.report.sweep.design_tables import CELLS, MOST_ON_FRONT, OBJECTIVES
from adadecode.sim.report.sweep.sweep_data import SweepData

if TYPE_CHECKING:
    import plotly.graph_objects as go


def costs_section(data: SweepData) -> Section | None:
    """Return the section; None if the designs differ in nothing but speed."""
    runnable = data.designs[data.designs["policy"] != Policy.ORACLE]
    names = design_tables.objectives(runnable)
    if not names:
        return None
    objectives = formatting.listed(data.about.get("objectives", []), 8)
    return Section(
        name="costs",
        title="What speed costs",
        lead=(
            "A design is on the Pareto front if no other one beats it in all objectives of the "
            f"sweep ({objectives})."
        ),
        items=(
            _front_item(data, runnable, names, objectives),
            _front_table(data, runnable, names),
        ),
    )


def _front_item(
    data: SweepData, designs: pd.DataFrame, names: list[str], objectives: str
) -> Figure:
    drawings: dict[tuple[str, ...], Drawing] = {}
    for device, part in designs.groupby("device", sort=False):
        for name in names:
            on, off, count = design_tables.front(part, name)
            if len(on):
                on_front = formatting.plural(len(on), "design")
                drawings[str(device), OBJECTIVES[name][0]] = Drawing(
                    figure=front_figure(on, off, name),
                    summary=f"{device}: {on_front} on the front, {formatting.count(count)} others.",
                )
    options = tuple(OBJECTIVES[name][0] for name in names)
    return Figure(
        name="pareto",
        title="The Pareto front",
        caption=(
            "Green line: no other design is both faster and cheaper in the two quantities drawn. "
            "Open circles: beaten in these two, but not in all objectives of the sweep "
            f"({objectives}). Grey: other designs, one for each of {CELLS} x {CELLS} cells. Lower "
            "left is better."
        ),
        choices=(
            wording.device_choice(data),
            Choice(dimension="objective", label="Against", options=options),
        ),
        drawings=drawings,
    )


def _front_table(data: SweepData, designs: pd.DataFrame, names: list[str]) -> Table:
    fronts = [
        part[part["pareto"].astype(bool)].sort_values("tpot_s").head(MOST_ON_FRONT)
        for _, part in designs.groupby("device", sort=False)
    ]
    frame = pd.concat(fronts)
    return Table(
        name="pareto-table",
        title="Designs on the front",
        frame=frame[[name for name in data.sweep.designs.columns if name in frame]],
        columns={
            "device": ("device", "text"),
            "design": ("design", "text"),
            "tpot_s": ("time a token", "ms"),
            "speedup": ("speedup", "times"),
            **{name: OBJECTIVES[name] for name in names},
        },
        folded=True,
    )


def front_figure(front: pd.DataFrame, others: pd.DataFrame, y: str) -> go.Figure:
    """Draw time per token against another objective: the front as a line, the others as dots.

    Args:
        front: Of `design_tables.front`, those on the front.
        others: The others.
        y: The column of the other objective.
    """
    import plotly.graph_objects as go

    name, kind = OBJECTIVES[y]
    scale, unit = _unit(pd.concat([front[y], others[y]]), kind)
    figure = empty_figure(height=420, hovermode="closest")
    green = {"size": 7, "color": theme.SERIES[1]}
    grey = {"size": 5, "color": theme.GREY, "opacity": 0.35}
    for kind_of_design, rows, mode, marker in (
        ("other designs", others, "markers", grey),
        (
            "best in all objectives",
            front[~front["both"]],
            "markers",
            {**green, "symbol": "circle-open"},
        ),
        ("best in these two", front[front["both"]], "lines+markers", green),
    ):
        if rows.empty:
            continue
        hover = zip(map(formatting.in_plot, rows["design"]), rows["speedup"], strict=True)
        figure.add_trace(
            go.Scatter(
                name=kind_of_design,
                x=plain_numbers(rows["tpot_s"], 1e3),
                y=plain_numbers(rows[y], scale),
                mode=mode,
                marker=marker,
                line={"width": 1.5, "color": theme.SERIES[1], "shape": "hv"},
                text=[f"{label}<br>{formatting.times(speedup)}" for label, speedup in hover],
                hovertemplate=(
                    f"%{{text}}, %{{x:.3g}} ms a token<br>{name} %{{y:.3g}} {unit}<extra></extra>"
                ),
            )
        )
    figure.update_xaxes(title_text="ms per token")
    figure.update_yaxes(title_text=f"{name}, {unit}")
    return figure


def _unit(values: pd.Series[float], kind: str) -> tuple[float, str]:
    """Return a scale, and the unit that it gives, from how the largest value is written."""
    largest = float(values.max()) if len(values) else 0.0
    _, _, unit = FORMATS[kind](largest).partition(" ")
    prefix = unit[:1] if len(unit) > 1 else ""
    return {"k": 1e-3, "M": 1e-6, "G": 1e-9, "T": 1e-12}.get(prefix, 1.0), unit
