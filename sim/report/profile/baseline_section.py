"""The section on baselines: other ways to decode, next to the designs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.measurements.baselines import GENERATE, same_text, standings
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Choice, Drawing, Figure, Section, Table
from adadecode.sim.report.plotting import empty_figure, error_bars, mark_vanilla, plain_numbers
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.run_tables import ALL, WHOLE
from adadecode.sim.report.profile.speed_section import domain_choice

if TYPE_CHECKING:
    import plotly.graph_objects as go

RATIOS = {
    "our vanilla": "over_vanilla",
    "generate": "over_generate",
    "generate, prefill included": "over_generate_whole",
}
"""What speeds are divided by, and the column of the ratios."""


def baseline_section(data: ProfileData) -> Section | None:
    """Return the section; None if no baseline was recorded."""
    rows = standings(data.profile, data.texts)
    if rows.empty:
        return None
    timed = rows[rows["tpot_s"].notna()]
    drawings: dict[tuple[str, ...], Drawing] = {}
    for text in data.texts:
        of_text = timed[timed["domain"] == text]
        for name, column in RATIOS.items():
            part = of_text[of_text[column].notna()]
            if len(part):
                drawings[name, text or WHOLE] = Drawing(
                    figure=standings_figure(part, column), summary=_summary(part, name, column)
                )
    figure = Figure(
        name="baselines",
        title="Designs and other ways to decode",
        caption=(
            "Dots: the median over repeats of the other's seconds per token divided by its own, "
            "all run in turn on the same prompts. Bars: the smallest and the largest repeat. "
            "Crosses: at least one text differs from generate's. Seconds per token leave out the "
            "first step, with the tokens that it gave."
        ),
        choices=(
            Choice(dimension="over", label="Over", options=tuple(RATIOS)),
            domain_choice(list(data.texts)),
        ),
        drawings=drawings,
    )
    return Section(
        name="baselines-section",
        title="Compared with other ways to decode",
        lead=(
            "Each baseline decodes the same prompts with the same weights in the same number "
            "format. Its text is compared with that of transformers' generate."
        ),
        items=(figure, _table(rows)),
        notes=tuple(_notes(rows)),
    )


def _summary(rows: pd.DataFrame, over: str, column: str) -> str:
    """Return the fastest design and the fastest baseline, in a sentence."""
    parts = []
    for ours, kind in ((True, "design"), (False, "baseline")):
        part = rows[(rows["ours"] == ours) & (rows["name"] != GENERATE)]
        if len(part):
            best = part.sort_values(column).to_dict("records")[-1]
            gain = formatting.gain(best[column], best[f"{column}_low"], best[f"{column}_high"])
            parts.append(f"fastest {kind}: {best['name']}, {gain} over {over}")
    return formatting.sentence("; ".join(parts)) if parts else ""


def _table(rows: pd.DataFrame) -> Table:
    frame = rows.assign(
        domain=rows["domain"].replace(ALL, WHOLE),
        text=[same_text(row) for row in rows.to_dict("records")],
    )
    return Table(
        name="beside-table",
        title="Designs and baselines",
        frame=frame,
        columns={
            "name": ("decoded with", "text"),
            "domain": ("text", "text"),
            "repeats": ("repeats", "count"),
            "tpot_s": ("time a token", "ms"),
            "over_vanilla": ("over our vanilla", "times"),
            "over_vanilla_low": ("lowest", "times"),
            "over_vanilla_high": ("highest", "times"),
            "over_generate": ("over generate", "times"),
            "over_generate_low": ("lowest", "times"),
            "over_generate_high": ("highest", "times"),
            "over_generate_whole": ("with prefill", "times"),
            "text": ("same text as generate", "text"),
        },
        folded=True,
    )


def _notes(rows: pd.DataFrame) -> list[str]:
    """Return why a baseline did not run, and what compilation took, which no speed contains."""
    whole = rows[rows["domain"] == ALL].to_dict("records")
    notes = [f"{row['name']} did not run: {row['error']}" for row in whole if row["error"]]
    notes += [
        f"Compiling for {row['name']} took {row['compile_s']:.0f} s, which no speed above contains."
        for row in whole
        if row["compile_s"] > 0
    ]
    return notes


def standings_figure(standings: pd.DataFrame, over: str) -> go.Figure:
    """Draw baselines and designs with their intervals, the fastest on top.

    Args:
        standings: Of `adadecode.sim.measurements.baselines.standings`.
        over: The column to draw, like ``over_vanilla``.
    """
    import plotly.graph_objects as go

    rows = standings.sort_values(over, kind="stable")
    rows = rows.assign(low=rows[f"{over}_low"], high=rows[f"{over}_high"])
    order = [formatting.in_plot(name) for name in rows["name"]]
    figure = empty_figure(height=96 + 26 * len(rows), hovermode="closest")
    for ours, kind, colour in (
        (True, "ours", theme.SERIES[0]),
        (False, "baseline", theme.SERIES[2]),
    ):
        part = rows[rows["ours"] == ours]
        same = (part["exact"] == part["checked"]).tolist()
        hover = zip(
            map(same_text, part.to_dict("records")),
            plain_numbers(part["low"]),
            plain_numbers(part["high"]),
            strict=True,
        )
        figure.add_trace(
            go.Scatter(
                name=kind,
                x=plain_numbers(part[over]),
                y=[formatting.in_plot(name) for name in part["name"]],
                mode="markers",
                marker={
                    "size": 9,
                    "color": colour,
                    "symbol": ["circle" if exact else "x" for exact in same],
                },
                error_x=error_bars(part, over),
                customdata=[list(row) for row in hover],
                hovertemplate=(
                    "%{y}<br>%{x:.2f}× (%{customdata[1]:.2f} .. %{customdata[2]:.2f})<br>"
                    "same text: %{customdata[0]}<extra></extra>"
                ),
            )
        )
    title = "speedup over our vanilla" if over == "over_vanilla" else "speedup over generate"
    figure.update_xaxes(title_text=title, ticksuffix="×")
    figure.update_yaxes(showgrid=False, type="category", categoryorder="array", categoryarray=order)
    return mark_vanilla(figure, axis="x")
