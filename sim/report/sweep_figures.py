"""Figures of what a sweep found: each a pure function of tidy tables (see `adadecode.sim.report.sweep_tables`). Need plotly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import FORMATS
from adadecode.sim.report.profile_figures import blank, errors, numbers, one_line
from adadecode.sim.report.profile_tables import fastest
from adadecode.sim.report.sweep_tables import OBJECTIVES

if TYPE_CHECKING:
    import plotly.graph_objects as go

BASES = {
    "measured": ("circle", theme.SERIES[0]),
    "carried": ("circle-open", theme.SERIES[0]),
    "datasheet": ("diamond-open", theme.SERIES[2]),
}
"""How sure a device's latencies are, and how that looks: filled is measured."""


def lines_figure(
    lines: pd.DataFrame, band: pd.DataFrame, measured: pd.DataFrame, *, axis: str
) -> go.Figure:
    """Speedup along gamma or the cap, a line for each placement, over the spread of all of them.

    lines, band: of `adadecode.sim.report.sweep_tables`. measured: place, x, speedup, low, high, design. axis: what x is.
    """
    import plotly.graph_objects as go

    figure = blank(height=440, hovermode="closest")
    grey = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": "all"}
    figure.add_trace(
        go.Scatter(x=numbers(band["x"]), y=numbers(band["low"]), showlegend=False, name="", **grey)
    )
    figure.add_trace(
        go.Scatter(
            x=numbers(band["x"]),
            y=numbers(band["high"]),
            name="8 of 10 placements",
            fill="tonexty",
            fillcolor="rgba(139,147,161,0.16)",
            **grey,
        )
    )
    ours = lines["place"].drop_duplicates().tolist()
    colours = {place: theme.SERIES[rank % len(theme.SERIES)] for rank, place in enumerate(ours)}
    for place, part in lines.groupby("place", sort=False):
        hover = zip(
            numbers(part["tpot_s"], 1e3),
            numbers(part["speedup_low"]),
            numbers(part["speedup_high"]),
            part["cap"].tolist(),
            strict=True,
        )
        figure.add_trace(
            go.Scatter(
                name=_heads(str(place)),
                x=numbers(part["x"]),
                y=numbers(part["speedup"]),
                mode="lines+markers",
                line={"width": 2, "color": colours[place]},
                marker={"size": 4.5},
                customdata=list(hover),
                hovertemplate=(
                    f"{_heads(str(place))}, {axis} %{{x}}<br>%{{y:.2f}}× (%{{customdata[1]:.2f}} .. %{{customdata[2]:.2f}}), "
                    "%{customdata[0]:.3g} ms a token, cap %{customdata[3]}<extra></extra>"
                ),
            )
        )
    if len(measured):
        figure.add_trace(
            go.Scatter(
                name="measured",
                x=numbers(measured["x"]),
                y=numbers(measured["speedup"]),
                mode="markers",
                marker={
                    "size": 9,
                    "symbol": "diamond",
                    "color": [colours.get(place, theme.GREY) for place in measured["place"]],
                    "line": {"width": 1, "color": "#ffffff"},
                },
                error_y={**errors(measured, "speedup"), "color": theme.GREY, "thickness": 1},
                customdata=[formatting.in_plot(name) for name in measured["design"]],
                hovertemplate="%{customdata}<br>measured %{y:.2f}×<extra></extra>",
            )
        )
    figure.update_xaxes(
        title_text="gamma: how sure a head must be"
        if axis == "gamma"
        else "cap: most drafts in a round"
    )
    if axis == "cap":
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(title_text="speedup over vanilla", ticksuffix="×")
    return one_line(figure, axis="y")


def map_figure(cells: pd.DataFrame) -> go.Figure:
    """A map of placements, shallowest head against deepest, coloured by the best speedup; bars where there is one head. cells: of `searched.placement_cells`."""
    import plotly.graph_objects as go

    if (cells["heads"] <= 1).all():
        return _bars(cells)
    shallow, deep = sorted(set(cells["shallow"])), sorted(set(cells["deep"]))
    rows = {(row["deep"], row["shallow"]): row for row in cells.to_dict("records")}
    found = [[rows.get((d, s)) for s in shallow] for d in deep]
    figure = blank(height=150 + max(260, min(24 * len(deep), 520)), hovermode="closest")
    low, high = min(1.0, float(cells["speedup"].min())), max(1.0, float(cells["speedup"].max()))
    figure.update_layout(
        coloraxis={
            "cmin": round(low, 3),
            "cmax": round(high, 3),
            "colorscale": theme.speedup_scale(theme.LIGHT, low, high),
        }
    )
    figure.add_trace(
        go.Heatmap(
            x=[str(depth) for depth in shallow],
            y=[str(depth) for depth in deep],
            z=[
                numbers([row["speedup"] if row else float("nan") for row in line]) for line in found
            ],
            text=[[_told(row) for row in line] for line in found],
            coloraxis="coloraxis",
            hoverongaps=False,
            xgap=1,
            ygap=1,
            hovertemplate="%{text}<extra></extra>",
        )
    )
    best = fastest(cells)
    mark = {"size": 13, "symbol": "circle-open", "line": {"width": 2.5}, "color": theme.SERIES[2]}
    where = {"x": [str(best["shallow"])], "y": [str(best["deep"])]}
    figure.add_trace(
        go.Scatter(
            name="best", mode="markers", marker=mark, hoverinfo="skip", showlegend=False, **where
        )
    )
    figure.update_xaxes(
        title_text="shallowest head",
        type="category",
        showgrid=False,
        categoryorder="array",
        categoryarray=[str(d) for d in shallow],
    )
    figure.update_yaxes(
        title_text="deepest head",
        type="category",
        showgrid=False,
        categoryorder="array",
        categoryarray=[str(d) for d in deep],
    )
    return figure


def _bars(cells: pd.DataFrame) -> go.Figure:
    import plotly.graph_objects as go

    cells = cells.sort_values("deep")
    rows = cells.rename(columns={"speedup_low": "low", "speedup_high": "high"})
    figure = blank(height=380, hovermode="closest", showlegend=False, bargap=0.35)
    figure.add_trace(
        go.Bar(
            name="best",
            x=rows["deep"].tolist(),
            y=numbers(rows["speedup"]),
            marker={"color": theme.SERIES[0]},
            error_y={**errors(rows, "speedup"), "color": theme.GREY},
            text=[_told(row) for row in cells.to_dict("records")],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="depth of the head", dtick=1 if len(rows) < 33 else None)
    figure.update_yaxes(title_text="best speedup", ticksuffix="×", rangemode="tozero")
    return one_line(figure, axis="y")


def front_figure(front: pd.DataFrame, others: pd.DataFrame, y: str) -> go.Figure:
    """Time per token against another objective: the front of these two as a line, other designs as dots. front, others: of `searched.front`."""
    import plotly.graph_objects as go

    named, kind = OBJECTIVES[y]
    scale, unit = _unit(pd.concat([front[y], others[y]]), kind)
    figure = blank(height=420, hovermode="closest")
    green = {"size": 7, "color": theme.SERIES[1]}
    for name, rows, mode, look in (
        ("other designs", others, "markers", {"size": 5, "color": theme.GREY, "opacity": 0.35}),
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
        figure.add_trace(
            go.Scatter(
                name=name,
                x=numbers(rows["tpot_s"], 1e3),
                y=numbers(rows[y], scale),
                mode=mode,
                marker=look,
                line={"width": 1.5, "color": theme.SERIES[1], "shape": "hv"},
                text=[
                    f"{formatting.in_plot(label)}<br>{formatting.times(speedup)}"
                    for label, speedup in zip(rows["design"], rows["speedup"], strict=True)
                ],
                hovertemplate=f"%{{text}}, %{{x:.3g}} ms a token<br>{named} %{{y:.3g}} {unit}<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="ms per token")
    figure.update_yaxes(title_text=f"{named}, {unit}")
    return figure


def devices_figure(devices: pd.DataFrame) -> go.Figure:
    """The best speedup on each device with its interval, marked by what its latencies rest on. devices: of `searched.devices`, with the column basis."""
    import plotly.graph_objects as go

    rows = devices.iloc[::-1].rename(columns={"speedup_low": "low", "speedup_high": "high"})
    figure = blank(height=120 + 30 * len(rows), hovermode="closest")
    figure.update_yaxes(
        showgrid=False,
        type="category",
        categoryorder="array",
        categoryarray=[formatting.in_plot(name) for name in rows["device"]],
    )
    for basis in dict.fromkeys(
        [*(name for name in BASES if name in set(rows["basis"])), *rows["basis"]]
    ):
        part = rows[rows["basis"] == basis]
        symbol, colour = BASES.get(str(basis), ("x", theme.GREY))
        told = zip(
            part["design"].map(formatting.in_plot),
            numbers(part["tpot_s"], 1e3),
            numbers(part["low"]),
            numbers(part["high"]),
            strict=True,
        )
        figure.add_trace(
            go.Scatter(
                name=formatting.in_plot(basis),
                x=numbers(part["speedup"]),
                y=[formatting.in_plot(name) for name in part["device"]],
                mode="markers",
                marker={"size": 10, "symbol": symbol, "color": colour, "line": {"width": 2}},
                error_x=errors(part, "speedup"),
                customdata=[list(row) for row in told],
                hovertemplate=(
                    "%{y}<br>%{customdata[0]}<br>%{x:.2f}× (%{customdata[2]:.2f} .. %{customdata[3]:.2f}), "
                    "%{customdata[1]:.3g} ms a token<extra></extra>"
                ),
            )
        )
    if rows["carried"].notna().sum() > 1:
        figure.add_trace(
            go.Scatter(
                name="the first device's best design",
                x=numbers(rows["carried"]),
                y=[formatting.in_plot(name) for name in rows["device"]],
                mode="markers",
                marker={
                    "size": 11,
                    "symbol": "line-ns-open",
                    "color": theme.SERIES[3],
                    "line": {"width": 2},
                },
                hovertemplate="%{y}<br>with the first device's best design: %{x:.2f}×<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="best speedup over vanilla on that device", ticksuffix="×")
    return one_line(figure, axis="x")


def _told(row: Mapping[Any, Any] | None) -> str:
    """The best design of a cell for hovering; nothing of none."""
    if row is None:
        return ""
    speed = f"{formatting.gain(row['speedup'], row['speedup_low'], row['speedup_high'])}, {formatting.milliseconds(row['tpot_s'])} a token"
    return f"{formatting.in_plot(row['design'])}<br>{speed}"


def _heads(place: str) -> str:
    return formatting.in_plot(f"head{'s' if '/' in place else ''} {place}")


def _unit(values: pd.Series[float], kind: str) -> tuple[float, str]:
    """A scale and the unit it gives, from how the largest value is written for people."""
    most = float(values.max()) if len(values) else 0.0
    _, _, unit = FORMATS[kind](most).partition(" ")
    prefix = {"k": 1e-3, "M": 1e-6, "G": 1e-9, "T": 1e-12}.get(
        unit[:1] if len(unit) > 1 else "", 1.0
    )
    return prefix, unit
