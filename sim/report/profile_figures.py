"""Figures of what a profile says: each a pure function of tidy tables (see `adadecode.sim.report.profile_tables`). Need plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from adadecode.sim.measurements.baselines import same_text
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.profile_tables import TIME_SHARES

if TYPE_CHECKING:
    import plotly.graph_objects as go

PART_NAMES = {
    "layers_useful": "layers, kept tokens",
    "layers_discarded": "layers, discarded drafts",
    "heads": "exit heads",
    "verify": "verification",
    "host": "host",
    "undivided": "all together",
}
PIECES = {
    "layer": "one layer",
    "head": "head check",
    "verify": "verification",
    "embed": "embedding",
    "host": "host",
}


def blank(**layout: object) -> go.Figure:
    """An empty figure with the layout that all share."""
    import plotly.graph_objects as go

    return go.Figure(layout={"template": theme.template(theme.LIGHT), **layout})


def numbers(values: Sequence[float] | pd.Series[float], scale: float = 1.0) -> list[float | None]:
    """Plain numbers to five digits that count: more would only make the page larger. None where not known."""
    return [
        float(f"{value * scale:.5g}") if formatting.known(value) else None
        for value in map(float, values)
    ]


def errors(frame: pd.DataFrame, middle: str, scale: float = 1.0) -> dict[str, Any]:
    """Plotly's error bars from the columns low and high around ``middle``."""
    above, below = (
        (frame["high"] - frame[middle]).clip(lower=0),
        (frame[middle] - frame["low"]).clip(lower=0),
    )
    look = {"thickness": 1.4, "width": 3}
    return {
        "type": "data",
        "symmetric": False,
        "array": numbers(above, scale),
        "arrayminus": numbers(below, scale),
        **look,
    }


def one_line(figure: go.Figure, *, axis: str) -> go.Figure:
    """Marks where a design is as fast as vanilla: 1 on the x or the y axis."""
    draw = figure.add_vline if axis == "x" else figure.add_hline
    draw(1.0, line={"color": theme.GREY, "width": 1, "dash": "dot"}, layer="below")
    return figure


def speedups_figure(measured: pd.DataFrame) -> go.Figure:
    """Measured speedups of designs with their intervals, the fastest on top; predicted ones beside them.

    measured: design, speedup, low, high, tpot_s, predicted (NaN where nothing was predicted).
    """
    import plotly.graph_objects as go

    rows = measured.sort_values("speedup", kind="stable")
    names = [formatting.in_plot(name) for name in rows["design"]]
    figure = blank(height=96 + 26 * len(rows), hovermode="closest")
    hover = {
        "customdata": list(
            zip(
                numbers(rows["tpot_s"], 1e3),
                numbers(rows["low"]),
                numbers(rows["high"]),
                strict=True,
            )
        )
    }
    figure.add_trace(
        go.Scatter(
            name="measured",
            x=numbers(rows["speedup"]),
            y=names,
            mode="markers",
            marker={"size": 9, "color": theme.SERIES[0]},
            error_x=errors(rows, "speedup"),
            hovertemplate="%{y}<br>measured %{x:.2f}× (%{customdata[1]:.2f} .. %{customdata[2]:.2f})<br>%{customdata[0]:.3g} ms a token<extra></extra>",
            **hover,
        )
    )
    if rows["predicted"].notna().any():
        figure.add_trace(
            go.Scatter(
                name="predicted",
                x=numbers(rows["predicted"]),
                y=names,
                mode="markers",
                marker={
                    "size": 9,
                    "symbol": "diamond-open",
                    "color": theme.SERIES[2],
                    "line": {"width": 2},
                },
                hovertemplate="%{y}<br>predicted %{x:.2f}×<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="speedup over vanilla", ticksuffix="×")
    figure.update_yaxes(showgrid=False, type="category")
    return one_line(figure, axis="x")


def beside_figure(standings: pd.DataFrame, over: str) -> go.Figure:
    """Baselines and designs, the fastest on top, with their intervals. standings: of `adadecode.sim.measurements.baselines.standings`; over: its column, like ``over_vanilla``."""
    import plotly.graph_objects as go

    rows = standings.sort_values(over, kind="stable")
    rows = rows.assign(low=rows[f"{over}_low"], high=rows[f"{over}_high"])
    order = [formatting.in_plot(name) for name in rows["name"]]
    figure = blank(height=96 + 26 * len(rows), hovermode="closest")
    for ours, said, colour in (
        (True, "ours", theme.SERIES[0]),
        (False, "baseline", theme.SERIES[2]),
    ):
        part = rows[rows["ours"] == ours]
        hover = [
            [text, *ends]
            for text, *ends in zip(
                map(same_text, part.to_dict("records")),
                numbers(part["low"]),
                numbers(part["high"]),
                strict=True,
            )
        ]
        figure.add_trace(
            go.Scatter(
                name=said,
                x=numbers(part[over]),
                y=[formatting.in_plot(name) for name in part["name"]],
                mode="markers",
                marker={
                    "size": 9,
                    "color": colour,
                    "symbol": [
                        "circle" if same else "x"
                        for same in (part["exact"] == part["checked"]).tolist()
                    ],
                },
                error_x=errors(part, over),
                customdata=hover,
                hovertemplate="%{y}<br>%{x:.2f}× (%{customdata[1]:.2f} .. %{customdata[2]:.2f})<br>same text: %{customdata[0]}<extra></extra>",
            )
        )
    figure.update_xaxes(
        title_text={"over_vanilla": "speedup over our vanilla"}.get(over, "speedup over generate"),
        ticksuffix="×",
    )
    figure.update_yaxes(showgrid=False, type="category", categoryorder="array", categoryarray=order)
    return one_line(figure, axis="x")


def truth_figure(cells: pd.DataFrame) -> go.Figure:
    """Predicted against measured speedups of every design and prompt. cells: of `adadecode.sim.validation.tiers.Validation`, with the column domain."""
    import plotly.graph_objects as go

    shown = cells[
        cells["speedup"].notna()
        & cells["predicted_speedup"].notna()
        & (cells["policy"] != "vanilla")
    ]
    figure = blank(height=400, hovermode="closest")
    for place, (domain, part) in enumerate(shown.groupby("domain", sort=True)):
        hover = {
            "customdata": [
                [formatting.in_plot(d), int(p)]
                for d, p in zip(part["design"], part["prompt"], strict=True)
            ]
        }
        figure.add_trace(
            go.Scatter(
                name=formatting.in_plot(domain),
                x=numbers(part["speedup"]),
                y=numbers(part["predicted_speedup"]),
                mode="markers",
                marker={
                    "size": 7,
                    "opacity": 0.75,
                    "color": theme.SERIES[place % len(theme.SERIES)],
                },
                hovertemplate="%{customdata[0]}, prompt %{customdata[1]}<br>measured %{x:.2f}×, predicted %{y:.2f}×<extra></extra>",
                **hover,
            )
        )
    low = float(shown[["speedup", "predicted_speedup"]].min().min()) * 0.96
    high = float(shown[["speedup", "predicted_speedup"]].max().max()) * 1.04
    figure.add_shape(
        type="line",
        x0=low,
        y0=low,
        x1=high,
        y1=high,
        line={"color": theme.GREY, "width": 1, "dash": "dot"},
        layer="below",
    )
    figure.update_xaxes(title_text="measured speedup", ticksuffix="×", range=[low, high])
    figure.update_yaxes(title_text="predicted", ticksuffix="×", range=[low, high])
    return figure


def errors_figure(by_design: pd.DataFrame) -> go.Figure:
    """Median magnitude of the errors of run time and speedup of each design. by_design: design, prediction_error, speedup_error."""
    import plotly.graph_objects as go

    rows = by_design.iloc[::-1]
    figure = blank(height=400, hovermode="closest", barmode="group", bargap=0.35)
    for name, column, colour in (
        ("speedup", "speedup_error", theme.SERIES[2]),
        ("run time", "prediction_error", theme.SERIES[0]),
    ):
        figure.add_trace(
            go.Bar(
                name=name,
                x=numbers(rows[column], 100),
                y=[formatting.in_plot(label) for label in rows["design"]],
                orientation="h",
                marker={"color": colour},
                hovertemplate=f"%{{y}}<br>{name}: %{{x:.1f}} %<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="median error over prompts, %")
    figure.update_yaxes(showgrid=False, type="category")
    figure.update_layout(legend_traceorder="reversed")
    return figure


def trust_figure(agreement: pd.DataFrame, column: str) -> go.Figure:
    """Agreement or confidence of the heads by depth, a line for each domain. agreement: domain, depth, outputs, agree, confidence."""
    import plotly.graph_objects as go

    named = {"agree": "says what the last layer says", "confidence": "mean confidence"}[column]
    figure = blank(height=340, hovermode="closest")
    for place, (domain, part) in enumerate(agreement.groupby("domain", sort=False)):
        whole = not domain
        figure.add_trace(
            go.Scatter(
                name="all text" if whole else formatting.in_plot(domain),
                x=part["depth"].tolist(),
                y=numbers(part[column]),
                mode="lines+markers",
                line={
                    "width": 2,
                    "color": theme.GREY if whole else theme.SERIES[(place - 1) % len(theme.SERIES)],
                    "dash": "dot" if whole else "solid",
                },
                marker={"size": 5},
                customdata=part["outputs"].tolist(),
                hovertemplate=f"depth %{{x}}: {named} %{{y:.1%}}<br>of %{{customdata:,}} outputs<extra>%{{fullData.name}}</extra>",
            )
        )
    figure.update_xaxes(title_text="depth of the head")
    figure.update_yaxes(title_text=named, tickformat=".0%", rangemode="tozero", range=[0, 1.02])
    return figure


def calibration_figure(bins: pd.DataFrame) -> go.Figure:
    """How often one head is right when it is so sure. bins: confidence, agree, low, high, outputs."""
    import plotly.graph_objects as go

    figure = blank(height=340, hovermode="closest", showlegend=False)
    figure.add_shape(
        type="line",
        x0=0,
        y0=0,
        x1=1,
        y1=1,
        line={"color": theme.GREY, "width": 1, "dash": "dot"},
        layer="below",
    )
    most = max(1, int(bins["outputs"].max()) if len(bins) else 1)
    sizes = [5 + 12 * (count / most) ** 0.5 for count in bins["outputs"].tolist()]
    figure.add_trace(
        go.Scatter(
            name="measured",
            x=numbers(bins["confidence"]),
            y=numbers(bins["agree"]),
            mode="lines+markers",
            line={"width": 1.5, "color": theme.SERIES[0]},
            marker={"size": [round(size, 1) for size in sizes], "color": theme.SERIES[0]},
            error_y=errors(bins, "agree"),
            customdata=bins["outputs"].tolist(),
            hovertemplate="sure %{x:.0%}: right %{y:.1%}<br>of %{customdata:,} outputs<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="confidence", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title_text="right", tickformat=".0%", range=[0, 1.04])
    return figure


def fates_figure(tokens: pd.DataFrame) -> go.Figure:
    """Where the tokens of one design left the stack, and what became of them. tokens: depth, accepted, rejected, last; the last layer in the last row."""
    import plotly.graph_objects as go

    total = max(1, int(tokens[["accepted", "last"]].to_numpy().sum()))
    figure = blank(height=110 + 34 * len(tokens), barmode="stack", hovermode="closest", bargap=0.45)
    names = [*(f"head {depth}" for depth in tokens["depth"].tolist()[:-1]), "last layer"]
    for name, column, colour in (
        ("last layer's own", "last", theme.LAST),
        ("draft, accepted", "accepted", theme.ACCEPTED),
        ("draft, discarded", "rejected", theme.REJECTED),
    ):
        values = tokens[column]
        if values.any():
            figure.add_trace(
                go.Bar(
                    name=name,
                    x=numbers(values / total),
                    y=names,
                    orientation="h",
                    marker={"color": colour},
                    customdata=values.tolist(),
                    hovertemplate=f"%{{y}}<br>{name}: %{{customdata:,}} tokens<br>%{{x:.1%}} of the text<extra></extra>",
                )
            )
    figure.update_layout(legend_traceorder="normal")
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_xaxes(title_text="share of the text", tickformat=".0%")
    return figure


def budget_figure(split: pd.DataFrame) -> go.Figure:
    """Milliseconds of an output token by part, a bar for each design, the first on top.

    split: design, seconds in the columns PARTS, and those of a whole that is not divided in the column undivided, where there is one.
    """
    import plotly.graph_objects as go

    rows = split.iloc[::-1]
    parts = [part for part in (*TIME_SHARES, "undivided") if part in rows]
    totals = rows[parts].sum(axis=1)
    figure = blank(height=110 + 30 * len(rows), barmode="stack", hovermode="closest", bargap=0.4)
    for part in parts:
        figure.add_trace(
            go.Bar(
                name=PART_NAMES[part],
                x=numbers(rows[part], 1e3),
                y=[formatting.in_plot(name) for name in rows["design"]],
                orientation="h",
                marker={"color": theme.PART_COLOURS[part]},
                customdata=numbers(rows[part] / totals),
                hovertemplate=f"%{{y}}<br>{PART_NAMES[part]}: %{{x:.3g}} ms a token, %{{customdata:.1%}}<extra></extra>",
            )
        )
    figure.update_layout(legend_traceorder="normal")
    figure.update_xaxes(title_text="milliseconds for an output token")
    figure.update_yaxes(showgrid=False, type="category")
    return figure


def layers_figure(layers: pd.DataFrame) -> go.Figure:
    """Milliseconds of a layer by batch, a line for each context. layers: context, n_tokens, seconds, low, high."""
    import plotly.graph_objects as go

    figure = blank(height=340, hovermode="closest")
    for place, (context, part) in enumerate(layers.groupby("context", sort=True)):
        figure.add_trace(
            go.Scatter(
                name=f"context {context}",
                x=part["n_tokens"].tolist(),
                y=numbers(part["seconds"], 1e3),
                mode="lines+markers",
                line={"width": 2, "color": theme.SERIES[place % len(theme.SERIES)]},
                marker={"size": 5},
                error_y={**errors(part, "seconds", 1e3), "color": theme.GREY, "thickness": 1},
                hovertemplate="%{x} tokens at once: %{y:.3g} ms<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_xaxes(title_text="tokens at once")
    figure.update_yaxes(title_text="ms for one layer", rangemode="tozero")
    return figure


def pieces_figure(pieces: pd.DataFrame) -> go.Figure:
    """Milliseconds of each kind of work on one token. pieces: kind, seconds, low, high."""
    import plotly.graph_objects as go

    rows = pieces.iloc[::-1]
    figure = blank(height=340, hovermode="closest", showlegend=False, bargap=0.5)
    figure.add_trace(
        go.Bar(
            name="measured",
            x=numbers(rows["seconds"], 1e3),
            y=[PIECES[kind] for kind in rows["kind"]],
            orientation="h",
            marker={"color": theme.SERIES[0]},
            error_x={**errors(rows, "seconds", 1e3), "color": theme.GREY, "thickness": 1.2},
            hovertemplate="%{y}: %{x:.3g} ms<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="ms on one token")
    figure.update_yaxes(showgrid=False, type="category")
    return figure
