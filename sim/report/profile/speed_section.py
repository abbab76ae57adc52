"""The section on what the designs that were run gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.report import formatting, theme
from adadecode.sim.report.document import Choice, Drawing, Figure, Section, Table
from adadecode.sim.report.plotting import empty_figure, error_bars, mark_vanilla, plain_numbers
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.run_tables import ALL, WHOLE, fastest

if TYPE_CHECKING:
    import plotly.graph_objects as go


def domain_choice(texts: Sequence[str]) -> Choice:
    """Return the drop-down of domains, all text first."""
    return Choice(dimension="domain", label="Text", options=tuple(text or WHOLE for text in texts))


def speed_section(data: ProfileData) -> Section | None:
    """Return the section; None if no design was run against vanilla."""
    speeds = data.speeds[data.speeds["speedup"].notna()]
    drafting = speeds[speeds["policy"] != Policy.VANILLA]
    if drafting.empty:
        return None
    texts = [text for text in data.texts if (drafting["domain"] == text).any()]
    drawings: dict[tuple[str, ...], Drawing] = {}
    for text in texts:
        part = drafting[drafting["domain"] == text]
        drawings[(text or WHOLE,)] = Drawing(figure=speedups_figure(part), summary=_summary(part))
    figure = Figure(
        name="measured-designs",
        title="Every design that was run",
        caption=(
            "Dots: the median over repeats of vanilla's time for a token divided by the design's, "
            "both run in turn. Bars: the smallest and the largest repeat. Diamonds: the prediction "
            "of the simulator, from latencies that no timed run went into. Left of the dotted line "
            "a design is slower than vanilla."
        ),
        choices=(domain_choice(texts),),
        drawings=drawings,
    )
    return Section(
        name="measured",
        title="What was measured",
        lead="Each design decoded the same prompts as vanilla, in turn, and wrote the same text.",
        items=(figure, _table(speeds)),
    )


def _summary(designs: pd.DataFrame) -> str:
    best = fastest(designs)
    gain = formatting.gain(best["speedup"], best["low"], best["high"])
    prompts = formatting.plural(int(best["prompts"]), "prompt")
    return f"{best['design']} was fastest: {gain} over {prompts}."


def _table(speeds: pd.DataFrame) -> Table:
    return Table(
        name="measured-designs-table",
        title="Measured designs",
        frame=speeds.assign(domain=speeds["domain"].replace(ALL, WHOLE)),
        columns={
            "design": ("design", "text"),
            "domain": ("text", "text"),
            "prompts": ("prompts", "count"),
            "repeats": ("repeats", "count"),
            "tpot_s": ("time a token", "ms"),
            "speedup": ("speedup", "times"),
            "low": ("lowest", "times"),
            "high": ("highest", "times"),
            "predicted": ("predicted", "times"),
        },
        caption="Lowest and highest: the repeat with the smallest and with the largest speedup.",
        folded=True,
    )


def speedups_figure(measured: pd.DataFrame) -> go.Figure:
    """Draw the measured speedups of designs with their intervals, the fastest on top.

    Args:
        measured: Columns design, speedup, low, high, tpot_s and predicted (NaN if there is none).
    """
    import plotly.graph_objects as go

    rows = measured.sort_values("speedup", kind="stable")
    names = [formatting.in_plot(name) for name in rows["design"]]
    figure = empty_figure(height=96 + 26 * len(rows), hovermode="closest")
    hover = zip(
        plain_numbers(rows["tpot_s"], 1e3),
        plain_numbers(rows["low"]),
        plain_numbers(rows["high"]),
        strict=True,
    )
    figure.add_trace(
        go.Scatter(
            name="measured",
            x=plain_numbers(rows["speedup"]),
            y=names,
            mode="markers",
            marker={"size": 9, "color": theme.SERIES[0]},
            error_x=error_bars(rows, "speedup"),
            customdata=list(hover),
            hovertemplate=(
                "%{y}<br>measured %{x:.2f}× (%{customdata[1]:.2f} .. %{customdata[2]:.2f})<br>"
                "%{customdata[0]:.3g} ms a token<extra></extra>"
            ),
        )
    )
    if rows["predicted"].notna().any():
        diamond = {"size": 9, "symbol": "diamond-open", "line": {"width": 2}}
        figure.add_trace(
            go.Scatter(
                name="predicted",
                x=plain_numbers(rows["predicted"]),
                y=names,
                mode="markers",
                marker={**diamond, "color": theme.SERIES[2]},
                hovertemplate="%{y}<br>predicted %{x:.2f}×<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="speedup over vanilla", ticksuffix="×")
    figure.update_yaxes(showgrid=False, type="category")
    return mark_vanilla(figure, axis="x")
