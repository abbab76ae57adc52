"""Figures and a table on how well gates tell where their heads are worth asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.core.number_format import percent
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Choice, Drawing, Figure, Table
from adadecode.sim.report.plotting import empty_figure, mark_diagonal, plain_numbers
from adadecode.sim.report.profile import gate_tables
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.run_tables import ALL
from adadecode.sim.synthetic.gate_model import GOOD

if TYPE_CHECKING:
    import plotly.graph_objects as go

_OFTEN = 0.3
"""Share of the outputs asked that the summary tells of."""


def gate_items(data: ProfileData) -> tuple[Figure | Table, ...]:
    """Return the items; none for heads without gates, or without any good exit."""
    if data.predictor is None or not data.predictor.trace.has_gates:
        return ()
    trace, prompts = data.predictor.trace, data.texts[ALL]
    recalled = gate_tables.recall(trace, prompts)
    if recalled.empty:
        return ()
    quality = gate_tables.quality(recalled)
    return (
        _recall_item(recalled, quality),
        _scores_item(gate_tables.histogram(trace, prompts), quality),
        _quality_table(quality),
    )


def _recall_item(recalled: pd.DataFrame, quality: pd.DataFrame) -> Figure:
    best = quality.iloc[int(quality["at_30"].argmax())]
    return Figure(
        name="gate-recall",
        title="Good exits found, by how often a head is asked",
        caption=(
            f"A good exit: the head is right, and more confident than {GOOD:g}. The outputs with "
            "the best scores are asked first; a gate that knows nothing lies on the dotted line."
        ),
        drawings={
            (): Drawing(
                figure=recall_figure(recalled),
                summary=(
                    f"Asking at {percent(_OFTEN, 0)} of the outputs finds "
                    f"{percent(quality['at_30'].min(), 0)} to {percent(best['at_30'], 0)} of the "
                    f"good exits, the most at depth {int(best['depth'])}."
                ),
            )
        },
        half=True,
    )


def _scores_item(counts: pd.DataFrame, quality: pd.DataFrame) -> Figure:
    drawings: dict[tuple[str, ...], Drawing] = {}
    for depth in quality["depth"].tolist():
        row = quality[quality["depth"] == depth].iloc[0]
        drawings[(f"head {depth}",)] = Drawing(
            figure=scores_figure(counts[counts["depth"] == depth]),
            summary=(
                f"Head {depth} is a good exit at {percent(row['good'], 0)} of the outputs; its "
                f"gate scores {percent(row['quality'], 0)} of the pairs of a good exit and another "
                "output in the right order."
            ),
        )
    options = tuple(f"head {depth}" for depth in quality["depth"].tolist())
    return Figure(
        name="gate-scores",
        title="What gates score",
        caption=(
            "A threshold leaves out all outputs to the left of it: the good exits there are "
            "missed, the others are checks saved."
        ),
        choices=(Choice(dimension="gate", label="Gate of", options=options),),
        drawings=drawings,
        half=True,
    )


def _quality_table(quality: pd.DataFrame) -> Table:
    asked = {
        f"at_{round(100 * share)}": (f"found at {share:.0%}", "percent")
        for share in gate_tables.ASKED
    }
    return Table(
        name="gate-quality-table",
        title="How well gates find good exits",
        frame=quality,
        columns={
            "depth": ("depth", "count"),
            "good": ("good exits", "percent"),
            "quality": ("pairs in order", "percent"),
            **asked,
        },
        folded=True,
    )


def recall_figure(recalled: pd.DataFrame) -> go.Figure:
    """Draw the recall of good exits by the share of outputs asked, a line for each depth.

    Args:
        recalled: Columns depth, asked and recall.
    """
    import plotly.graph_objects as go

    figure = empty_figure(height=340, hovermode="closest")
    mark_diagonal(figure, 0, 1)
    for number, (depth, part) in enumerate(recalled.groupby("depth", sort=True)):
        figure.add_trace(
            go.Scatter(
                name=formatting.in_plot(f"depth {depth}"),
                x=plain_numbers(part["asked"]),
                y=plain_numbers(part["recall"]),
                mode="lines",
                line={"width": 2, "color": theme.SERIES[number % len(theme.SERIES)]},
                hovertemplate="asked at %{x:.0%}: finds %{y:.1%}<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_xaxes(title_text="outputs asked", tickformat=".0%", range=[0, 1.0])
    figure.update_yaxes(title_text="good exits found", tickformat=".0%", range=[0, 1.02])
    return figure


def scores_figure(counts: pd.DataFrame) -> go.Figure:
    """Draw how many outputs of one head have which score, good exits apart from others.

    Args:
        counts: Columns score, good and other.
    """
    import plotly.graph_objects as go

    figure = empty_figure(height=340, hovermode="closest", barmode="stack")
    for column, name, colour in (
        ("good", "good exits", theme.SERIES[0]),
        ("other", "others", theme.GREY),
    ):
        figure.add_trace(
            go.Bar(
                name=name,
                x=plain_numbers(counts["score"]),
                y=counts[column].tolist(),
                marker={"color": colour},
                hovertemplate="score %{x:.2f}: %{y:,}<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_xaxes(title_text="score of the gate", range=[0, 1])
    figure.update_yaxes(title_text="outputs")
    return figure
