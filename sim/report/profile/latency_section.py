"""The section on the seconds of each piece of work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Drawing, Figure, Section, Table
from adadecode.sim.report.plotting import empty_figure, error_bars, plain_numbers
from adadecode.sim.report.profile import latency_tables
from adadecode.sim.report.profile.profile_data import ProfileData

if TYPE_CHECKING:
    import plotly.graph_objects as go

PIECE_NAMES = {
    "layer": "one layer",
    "head": "head check",
    "gate": "gate",
    "verify": "verification",
    "embed": "embedding",
    "host": "host",
}


def latency_section(data: ProfileData) -> Section | None:
    """Return the section; None if no layer was timed."""
    points = data.latency.points
    layers, pieces = latency_tables.layer_seconds(points), latency_tables.piece_seconds(points)
    if layers.empty:
        return None
    return Section(
        name="latency",
        title="What each piece of work takes",
        lead="Everything above is priced with these.",
        items=(
            _layers_item(layers),
            _pieces_item(pieces),
            _layers_table(layers),
            _pieces_table(pieces),
        ),
    )


def _layers_item(layers: pd.DataFrame) -> Figure:
    contexts = sorted(set(layers["context"]))
    drawn = layers[
        layers["context"].isin({contexts[0], contexts[len(contexts) // 2], contexts[-1]})
    ]
    batches = layers[layers["context"] == contexts[0]].set_index("n_tokens")["seconds"]
    summary = (
        f"{int(batches.index[-1])} tokens at once cost {batches.iloc[-1] / batches.iloc[0]:.2f} "
        f"times as much as {formatting.plural(int(batches.index[0]), 'token')}."
    )
    caption = (
        "Mean over the layers, after a walk of the whole stack. Bars: the fastest and the slowest "
        "layer."
    )
    if len(contexts) > 3:
        caption += " Shortest, middle and longest context measured."
    return Figure(
        name="layer-time",
        title="One layer, by the tokens in its batch",
        caption=caption,
        drawings={(): Drawing(figure=layers_figure(drawn), summary=summary)},
        half=True,
    )


def _pieces_item(pieces: pd.DataFrame) -> Figure:
    return Figure(
        name="piece-time",
        title="Each kind of work, on one token",
        caption=(
            "Mean over what was measured. Bars: the fastest and the slowest layer or head. Host: "
            "what a piece of work costs outside the model."
        ),
        drawings={(): Drawing(figure=pieces_figure(pieces), summary=_pieces_summary(pieces))},
        half=True,
    )


def _pieces_summary(pieces: pd.DataFrame) -> str:
    by_kind = pieces.set_index("kind")["seconds"]
    if not {"layer", "head"} <= set(by_kind.index):
        return f"Measured here: {formatting.listed(by_kind.index)}."
    return f"A head check costs {by_kind['head'] / by_kind['layer']:.2f} layers."


def _layers_table(layers: pd.DataFrame) -> Table:
    return Table(
        name="layer-time-table",
        title="Time of a layer",
        frame=layers,
        columns={
            "context": ("context", "count"),
            "n_tokens": ("tokens", "count"),
            "seconds": ("mean", "ms"),
            "low": ("fastest layer", "ms"),
            "high": ("slowest layer", "ms"),
        },
        folded=True,
    )


def _pieces_table(pieces: pd.DataFrame) -> Table:
    return Table(
        name="piece-time-table",
        title="Time of each kind of work",
        frame=pieces,
        columns={
            "kind": ("work", "text"),
            "seconds": ("mean", "ms"),
            "low": ("lowest", "ms"),
            "high": ("highest", "ms"),
        },
        folded=True,
    )


def layers_figure(layers: pd.DataFrame) -> go.Figure:
    """Draw the milliseconds of a layer by batch, a line for each context.

    Args:
        layers: Columns context, n_tokens, seconds, low and high.
    """
    import plotly.graph_objects as go

    figure = empty_figure(height=340, hovermode="closest")
    for number, (context, part) in enumerate(layers.groupby("context", sort=True)):
        bars = error_bars(part, "seconds", 1e3)
        figure.add_trace(
            go.Scatter(
                name=f"context {context}",
                x=part["n_tokens"].tolist(),
                y=plain_numbers(part["seconds"], 1e3),
                mode="lines+markers",
                line={"width": 2, "color": theme.SERIES[number % len(theme.SERIES)]},
                marker={"size": 5},
                error_y={**bars, "color": theme.GREY, "thickness": 1},
                hovertemplate="%{x} tokens at once: %{y:.3g} ms<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_xaxes(title_text="tokens at once")
    figure.update_yaxes(title_text="ms for one layer", rangemode="tozero")
    return figure


def pieces_figure(pieces: pd.DataFrame) -> go.Figure:
    """Draw the milliseconds of each kind of work on one token.

    Args:
        pieces: Columns kind, seconds, low and high.
    """
    import plotly.graph_objects as go

    rows = pieces.iloc[::-1]
    figure = empty_figure(height=340, hovermode="closest", showlegend=False, bargap=0.5)
    figure.add_trace(
        go.Bar(
            name="measured",
            x=plain_numbers(rows["seconds"], 1e3),
            y=[PIECE_NAMES[kind] for kind in rows["kind"]],
            orientation="h",
            marker={"color": theme.SERIES[0]},
            error_x={**error_bars(rows, "seconds", 1e3), "color": theme.GREY, "thickness": 1.2},
            hovertemplate="%{y}: %{x:.3g} ms<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="ms on one token")
    figure.update_yaxes(showgrid=False, type="category")
    return figure
