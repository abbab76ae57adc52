"""Figures of loads: latency against load, latency against cost. Needs plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.report import theme
from adadecode.sim.report.formatting import in_plot, plural
from adadecode.sim.report.plotting import empty_figure, error_bars, plain_numbers

if TYPE_CHECKING:
    import plotly.graph_objects as go

OVERLOADED = "overloaded"


def load_figure(trials: pd.DataFrame) -> go.Figure:
    """Draw what one objective reaches against the requests a second of each server.

    Args:
        trials: Rows of `adadecode.sim.report.load.plan_file.PlanFile.trials` of one objective.
    """
    name, unit, scale = _axis(trials)
    by_load = bool(trials["load"].notna().all())
    figure = _lines(
        trials.assign(x=trials["load"] if by_load else trials["replicas"]),
        unit,
        scale,
    )
    _mark_limit(figure, trials, scale)
    if by_load:
        figure.update_xaxes(title_text="requests a second of each server", rangemode="tozero")
    else:
        figure.update_xaxes(
            title_text="servers", dtick=1 if trials["replicas"].max() < 12 else None
        )
    figure.update_yaxes(title_text=f"{name}, {unit}", type="log", **_few_ticks())
    return figure


def cost_figure(trials: pd.DataFrame) -> go.Figure:
    """Draw what one objective reaches against the cost of an hour, and the front of all devices.

    Where there are no prices, against the number of devices.

    Args:
        trials: As of `load_figure`.
    """
    import plotly.graph_objects as go

    name, unit, scale = _axis(trials)
    rows = trials.assign(x=cost_of(trials))
    best = front(rows)
    figure = _lines(rows, unit, scale)
    figure.add_trace(
        go.Scatter(
            name="front",
            x=plain_numbers(best["x"]),
            y=plain_numbers(best["reached_s"], scale),
            mode="lines",
            line={"color": theme.GREY, "width": 6, "shape": "hv"},
            opacity=0.35,
            hoverinfo="skip",
        )
    )
    _mark_limit(figure, trials, scale)
    title = "devices" if trials["hourly"].isna().all() else "cost of an hour"
    figure.update_xaxes(title_text=title, rangemode="tozero")
    figure.update_yaxes(title_text=f"{name}, {unit}", type="log", **_few_ticks())
    return figure


def cost_of(trials: pd.DataFrame) -> pd.Series[float]:
    """Return the cost of an hour; the number of devices where nothing is priced."""
    unpriced = bool(trials["hourly"].isna().all())
    return trials["devices"].astype(float) if unpriced else trials["hourly"]


def front(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of which no other costs less and is faster (the Pareto front), by cost.

    A server that falls behind is on no front: with a longer run it would be slower.

    Args:
        rows: Columns ``x`` (the cost), ``reached_s`` and ``verdict``.
    """
    kept = rows[(rows["verdict"] != OVERLOADED) & rows["x"].notna()]
    ordered = kept.sort_values(["x", "reached_s"], kind="stable")
    so_far = ordered["reached_s"].cummin().shift(fill_value=float("inf"))
    return ordered[ordered["reached_s"] < so_far]


def _lines(rows: pd.DataFrame, unit: str, scale: float) -> go.Figure:
    """Draw a line a device over the column ``x``: open where it is overloaded."""
    import plotly.graph_objects as go

    figure = empty_figure(height=380, hovermode="closest")
    for place, (device, part) in enumerate(rows.groupby("device", sort=False)):
        ordered = part.sort_values("x", kind="stable")
        colour = theme.SERIES[place % len(theme.SERIES)]
        symbols = [
            "circle-open" if one == OVERLOADED else "circle" for one in ordered["verdict"].tolist()
        ]
        bars = ordered.rename(columns={"low_s": "low", "high_s": "high"})
        trials = zip(ordered["replicas"].tolist(), ordered["verdict"].tolist(), strict=True)
        hover = [f"{plural(int(count), 'server')}, {verdict}" for count, verdict in trials]
        figure.add_trace(
            go.Scatter(
                name=in_plot(device),
                x=plain_numbers(ordered["x"]),
                y=plain_numbers(ordered["reached_s"], scale),
                mode="lines+markers",
                line={"color": colour, "width": 1.6},
                marker={
                    "size": 9,
                    "symbol": symbols,
                    "color": colour,
                    "line": {"width": 2, "color": colour},
                },
                error_y=error_bars(bars, "reached_s", scale),
                customdata=hover,
                hovertemplate=(
                    f"{in_plot(device)}: %{{customdata}}<br>%{{y:.3g}} {unit}<extra></extra>"
                ),
            )
        )
    return figure


def _axis(trials: pd.DataFrame) -> tuple[str, str, float]:
    """Return the words for an objective, and the unit of its axis with its size."""
    metric, _, statistic = str(trials["objective"].iloc[0]).partition("_")
    words = {"e2e": "end to end"}.get(metric, metric.upper())
    seconds = float(trials["limit_s"].iloc[0]) >= 0.5
    return f"{words}, {statistic}", "s" if seconds else "ms", 1.0 if seconds else 1e3


def _few_ticks() -> dict[str, object]:
    return {"dtick": "D2", "minor": {"showgrid": False}}


def _mark_limit(figure: go.Figure, trials: pd.DataFrame, scale: float) -> None:
    figure.add_hline(
        float(trials["limit_s"].iloc[0]) * scale,
        line={"color": theme.GREY, "width": 1.5, "dash": "dot"},
        layer="below",
        annotation_text="limit",
        annotation_position="top left",
        annotation_font={"color": theme.GREY, "size": 11},
    )
