"""The figure of speedup against gamma, or against the cap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Choice, Drawing, Figure
from adadecode.sim.report.plotting import empty_figure, error_bars, mark_vanilla, plain_numbers
from adadecode.sim.report.profile.run_tables import fastest
from adadecode.sim.report.sweep import design_tables, wording
from adadecode.sim.report.sweep.sweep_data import SweepData

if TYPE_CHECKING:
    import plotly.graph_objects as go


def gamma_item(data: SweepData) -> Figure:
    """Return the figure of speedup against gamma, for each device, policy and form of heads."""
    policies = design_tables.policies(data.designs)
    groups = ["device", "policy", *(["form"] if data.forms else [])]
    drawings: dict[tuple[str, ...], Drawing] = {}
    for chosen, designs in data.fitting.groupby(groups, sort=False):
        device, policy, *form = map(str, chosen)
        if policy in policies:
            runs = _runs_of(data, device, policy, form)
            drawing = _drawing(device, policy, designs, runs)
            if drawing is not None:
                drawings[device, policy, *form] = drawing
    choices = [wording.device_choice(data), wording.policy_choice(policies)]
    if data.forms:
        choices.append(Choice(dimension="form", label="Form of heads", options=tuple(data.forms)))
    return Figure(
        name="speedup-gamma",
        title="Speedup against gamma",
        caption=_caption(data),
        choices=tuple(choices),
        drawings=drawings,
    )


def _runs_of(data: SweepData, device: str, policy: str, form: list[str]) -> pd.DataFrame:
    """Return the measured runs to draw; empty for a device that nothing was run on."""
    if device != data.measured:
        return data.runs.iloc[:0]
    runs = data.runs[data.runs["policy"] == policy]
    return runs[runs["form"].isin(form)] if form else runs


def _drawing(device: str, policy: str, designs: pd.DataFrame, runs: pd.DataFrame) -> Drawing | None:
    lines = design_tables.lines(designs, policy, dict.fromkeys(runs["place"]))
    if lines.empty:
        return None
    axis = design_tables.varied_column(policy)
    drawn_runs = runs[runs["place"].isin(set(lines["place"]))]
    drawn_runs = drawn_runs.assign(x=drawn_runs[axis])
    drawn_runs = drawn_runs[drawn_runs["x"].notna()]
    band = design_tables.band(designs, policy)
    best = fastest(lines)
    placements = formatting.plural(int(band["placements"].max()), "placement")
    return Drawing(
        figure=lines_figure(lines, band, drawn_runs, axis=axis),
        summary=(
            f"{device}: best with {wording.describe(best)}: {wording.gain(best)}; "
            f"{placements} evaluated."
        ),
    )


def _caption(data: SweepData) -> str:
    gamma = "One gamma for all heads."
    if data.about["method"] != "exhaustive":
        gamma = "Gamma is the mean over the heads, to a twentieth: the search chose one for each."
    return (
        "Lines: the best placement of each number of heads, placements that were run, then the "
        f"next best, {design_tables.MOST_LINES} at most, each at its best cap. The bar on the best "
        "point is the interval of that prediction; the table of placements below has those of "
        "others, and hovering over a point shows its own. Grey: the range of eight in ten "
        "of all placements. Diamonds: measured runs, with their smallest and largest repeat. "
        f"{gamma}"
    )


def lines_figure(
    lines: pd.DataFrame, band: pd.DataFrame, measured: pd.DataFrame, *, axis: str
) -> go.Figure:
    """Draw speedup along gamma or the cap: a line for each placement, over the spread of all.

    Args:
        lines: Of `design_tables.lines`.
        band: Of `design_tables.band`.
        measured: Columns place, x, speedup, low, high and design.
        axis: What x is, ``gamma`` or ``cap``.
    """
    import plotly.graph_objects as go

    figure = empty_figure(height=440, hovermode="closest")
    _add_band(figure, band)
    places = lines["place"].drop_duplicates().tolist()
    colours = {place: theme.SERIES[rank % len(theme.SERIES)] for rank, place in enumerate(places)}
    for place, points in lines.groupby("place", sort=False):
        line = _line(str(place), points, axis, colours[place])
        figure.add_trace(go.Scatter(**line, **_best_interval(points, lines, colours[place])))
    if len(measured):
        figure.add_trace(go.Scatter(**_diamonds(measured, colours)))
    title = "gamma: confidence to exit" if axis == "gamma" else "cap: most drafts in a round"
    figure.update_xaxes(title_text=title, dtick=1 if axis == "cap" else None)
    figure.update_yaxes(title_text="speedup over vanilla", ticksuffix="×")
    return mark_vanilla(figure, axis="y")


def _add_band(figure: go.Figure, band: pd.DataFrame) -> None:
    """Add the range of eight in ten of all placements, in grey."""
    import plotly.graph_objects as go

    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": "all"}
    x = plain_numbers(band["x"])
    figure.add_trace(
        go.Scatter(x=x, y=plain_numbers(band["low"]), showlegend=False, name="", **edge)
    )
    figure.add_trace(
        go.Scatter(
            x=x,
            y=plain_numbers(band["high"]),
            name="8 of 10 placements",
            fill="tonexty",
            fillcolor="rgba(139,147,161,0.16)",
            **edge,
        )
    )


def _line(place: str, points: pd.DataFrame, axis: str, colour: str) -> dict[str, Any]:
    """Return a placement as plotly's scatter."""
    name = formatting.in_plot(f"head{'s' if '/' in place else ''} {place}")
    bounds = points.rename(columns={"speedup_low": "low", "speedup_high": "high"})
    hover = zip(
        plain_numbers(points["tpot_s"], 1e3),
        plain_numbers(bounds["low"]),
        plain_numbers(bounds["high"]),
        points["cap"].tolist(),
        strict=True,
    )
    return {
        "name": name,
        "x": plain_numbers(points["x"]),
        "y": plain_numbers(points["speedup"]),
        "mode": "lines+markers",
        "line": {"width": 2, "color": colour},
        "marker": {"size": 4.5},
        "customdata": list(hover),
        "hovertemplate": (
            f"{name}, {axis} %{{x}}<br>"
            "%{y:.2f}× (%{customdata[1]:.2f} .. %{customdata[2]:.2f}), "
            "%{customdata[0]:.3g} ms a token, cap %{customdata[3]}<extra></extra>"
        ),
    }


def _best_interval(points: pd.DataFrame, lines: pd.DataFrame, colour: str) -> dict[str, Any]:
    """Return the error bar of the best point of all lines, if it is one of these points."""
    best = points["speedup"] == lines["speedup"].max()
    if not best.any():
        return {}
    interval = points[["speedup"]].assign(
        low=points["speedup_low"].where(best), high=points["speedup_high"].where(best)
    )
    return {"error_y": {**error_bars(interval, "speedup"), "color": colour, "thickness": 1.4}}


def _diamonds(measured: pd.DataFrame, colours: dict[str, str]) -> dict[str, Any]:
    """Return the measured runs as plotly's scatter."""
    return {
        "name": "measured",
        "x": plain_numbers(measured["x"]),
        "y": plain_numbers(measured["speedup"]),
        "mode": "markers",
        "marker": {
            "size": 9,
            "symbol": "diamond",
            "color": [colours.get(place, theme.GREY) for place in measured["place"]],
            "line": {"width": 1, "color": "#ffffff"},
        },
        "error_y": {**error_bars(measured, "speedup"), "color": theme.GREY, "thickness": 1},
        "customdata": [formatting.in_plot(name) for name in measured["design"]],
        "hovertemplate": "%{customdata}<br>measured %{y:.2f}×<extra></extra>",
    }
