"""The section on how far the heads can be trusted: agreement, confidence and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.core.number_format import percent
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Choice, Drawing, Figure, Section, Table
from adadecode.sim.report.plotting import (
    empty_figure,
    error_bars,
    mark_diagonal,
    plain_numbers,
)
from adadecode.sim.report.profile import head_tables
from adadecode.sim.report.profile.gate_items import gate_items
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.run_tables import ALL, WHOLE
from adadecode.sim.report.profile.speed_section import domain_choice

if TYPE_CHECKING:
    import plotly.graph_objects as go

RELIABLE = 0.9
"""A head that agrees with the last layer this often is named in the summary."""

_QUANTITIES = {"agreement": "agree", "confidence": "confidence"}
"""The columns of the agreement table that can be drawn, by their names in the drop-down."""


def heads_section(data: ProfileData) -> Section | None:
    """Return the section; None for a profile without heads or text."""
    if data.predictor is None or not data.profile.depths:
        return None
    trace = data.predictor.trace
    agreement = head_tables.agreement(trace)
    if agreement.empty:
        return None
    bins = head_tables.calibration(trace, data.texts)
    return Section(
        name="heads",
        title="How far the heads can be trusted",
        lead="A head pays if it is right at a small depth, and if its confidence shows when it is.",
        items=(
            _agreement_item(agreement),
            _calibration_item(bins, _by_rise(agreement, trace.depths), list(data.texts)),
            _agreement_table(agreement),
            _calibration_table(bins),
            *gate_items(data),
        ),
    )


def _agreement_item(agreement: pd.DataFrame) -> Figure:
    return Figure(
        name="agreement",
        title="Agreement and confidence by depth",
        caption=(
            "Agreement: how often the first choice of a head is the last layer's, before every "
            "output of the recorded text, whatever exit was taken. Confidence: the mean "
            "probability of that choice."
        ),
        choices=(Choice(dimension="trust", label="Show", options=tuple(_QUANTITIES)),),
        drawings={
            (name,): Drawing(
                figure=agreement_figure(agreement, column),
                summary=_agreement_summary(agreement, column),
            )
            for name, column in _QUANTITIES.items()
        },
        half=True,
    )


def _calibration_item(bins: pd.DataFrame, depths: Sequence[int], texts: Sequence[str]) -> Figure:
    drawings: dict[tuple[str, ...], Drawing] = {}
    for (domain, depth), part in bins.groupby(["domain", "depth"], sort=False):
        outputs = part["outputs"].sum()
        error = (part["outputs"] * (part["confidence"] - part["agree"]).abs()).sum() / outputs
        summary = (
            f"Head {depth}: confidence and agreement differ by {percent(error)} in the "
            f"mean over {formatting.count(int(outputs))} outputs."
        )
        drawings[f"head {depth}", str(domain) or WHOLE] = Drawing(
            figure=calibration_figure(part), summary=summary
        )
    options = tuple(f"head {depth}" for depth in depths)
    return Figure(
        name="calibration",
        title="Is a head right as often as it is confident?",
        caption=(
            "Outputs in tenths of confidence, with larger dots for more of them. Bars: 95 % "
            "intervals (Wilson). Above the dotted line a head is right more often than it is "
            "confident."
        ),
        choices=(Choice(dimension="head", label="Head", options=options), domain_choice(texts)),
        drawings=drawings,
        half=True,
    )


def _agreement_table(agreement: pd.DataFrame) -> Table:
    return Table(
        name="agreement-table",
        title="Agreement and confidence",
        frame=agreement.assign(domain=agreement["domain"].replace(ALL, WHOLE)),
        columns={
            "domain": ("text", "text"),
            "depth": ("depth", "count"),
            "outputs": ("outputs", "count"),
            "agree": ("agreement", "percent"),
            "confidence": ("confidence", "percent"),
        },
        folded=True,
    )


def _calibration_table(bins: pd.DataFrame) -> Table:
    return Table(
        name="calibration-table",
        title="Calibration",
        frame=bins.assign(domain=bins["domain"].replace(ALL, WHOLE)),
        columns={
            "domain": ("text", "text"),
            "depth": ("depth", "count"),
            "outputs": ("outputs", "count"),
            "confidence": ("confidence", "percent"),
            "agree": ("right", "percent"),
            "low": ("from", "percent"),
            "high": ("to", "percent"),
        },
        caption="From, to: the 95 % Wilson interval of how often the head is right.",
        folded=True,
    )


def _agreement_summary(agreement: pd.DataFrame, column: str) -> str:
    """Return a sentence on the first head that is right nine times in ten, or on confidence."""
    whole = agreement[agreement["domain"] == ALL]
    if column == "confidence":
        shallowest, deepest = whole[column].iloc[0], whole[column].iloc[-1]
        return (
            f"The mean confidence of the shallowest head is {percent(shallowest)}, of "
            f"the deepest {percent(deepest)}."
        )
    reliable = whole[whole["agree"] >= RELIABLE]["depth"]
    if not len(reliable):
        return "No head is right nine times in ten."
    return f"From depth {reliable.iloc[0]} on, nine outputs in ten are right."


def _by_rise(agreement: pd.DataFrame, depths: Sequence[int]) -> list[int]:
    """Return the depths of the heads, first the one after the steepest rise of agreement.

    That head gains most for its depth.
    """
    whole = agreement[agreement["domain"] == ALL].set_index("depth")["agree"]
    rise = whole.diff().fillna(0.0)
    first = depths[int(rise.argmax())]
    return [first, *(depth for depth in depths if depth != first)]


def agreement_figure(agreement: pd.DataFrame, column: str) -> go.Figure:
    """Draw the agreement or the confidence of the heads by depth, a line for each domain.

    Args:
        agreement: Columns domain, depth, outputs, agree and confidence.
        column: ``agree`` or ``confidence``.
    """
    import plotly.graph_objects as go

    title = {"agree": "agrees with the last layer", "confidence": "mean confidence"}[column]
    figure = empty_figure(height=340, hovermode="closest")
    for number, (domain, part) in enumerate(agreement.groupby("domain", sort=False)):
        whole = not domain
        line = {"width": 2, "color": theme.SERIES[(number - 1) % len(theme.SERIES)]}
        figure.add_trace(
            go.Scatter(
                name=WHOLE if whole else formatting.in_plot(domain),
                x=part["depth"].tolist(),
                y=plain_numbers(part[column]),
                mode="lines+markers",
                line={**line, "color": theme.GREY, "dash": "dot"} if whole else line,
                marker={"size": 5},
                customdata=part["outputs"].tolist(),
                hovertemplate=(
                    f"depth %{{x}}: {title} %{{y:.1%}}<br>"
                    "of %{customdata:,} outputs<extra>%{fullData.name}</extra>"
                ),
            )
        )
    figure.update_xaxes(title_text="depth of the head")
    figure.update_yaxes(title_text=title, tickformat=".0%", rangemode="tozero", range=[0, 1.02])
    return figure


def calibration_figure(bins: pd.DataFrame) -> go.Figure:
    """Draw how often one head is right, by its confidence.

    Args:
        bins: Columns confidence, agree, low, high and outputs.
    """
    import plotly.graph_objects as go

    figure = empty_figure(height=340, hovermode="closest", showlegend=False)
    mark_diagonal(figure, 0, 1)
    most = max(1, int(bins["outputs"].max()) if len(bins) else 1)
    sizes = [5 + 12 * (count / most) ** 0.5 for count in bins["outputs"].tolist()]
    figure.add_trace(
        go.Scatter(
            name="measured",
            x=plain_numbers(bins["confidence"]),
            y=plain_numbers(bins["agree"]),
            mode="lines+markers",
            line={"width": 1.5, "color": theme.SERIES[0]},
            marker={"size": [round(size, 1) for size in sizes], "color": theme.SERIES[0]},
            error_y=error_bars(bins, "agree"),
            customdata=bins["outputs"].tolist(),
            hovertemplate=(
                "confidence %{x:.0%}: right %{y:.1%}<br>of %{customdata:,} outputs<extra></extra>"
            ),
        )
    )
    figure.update_xaxes(title_text="confidence", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title_text="right", tickformat=".0%", range=[0, 1.04])
    return figure
