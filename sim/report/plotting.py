"""What all figures share: an empty figure, plain numbers, error bars. Needs plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from adadecode.sim.core.number_format import known
from adadecode.sim.report import theme

if TYPE_CHECKING:
    import plotly.graph_objects as go


def empty_figure(**layout: object) -> go.Figure:
    """Return an empty figure with the template and this layout."""
    import plotly.graph_objects as go

    return go.Figure(layout={"template": theme.template(theme.LIGHT), **layout})


def plain_numbers(
    values: Sequence[float] | pd.Series[float], scale: float = 1.0
) -> list[float | None]:
    """Return plain numbers to five significant digits, and None for those not known.

    More digits would only make the page larger.
    """
    return [float(f"{value * scale:.5g}") if known(value) else None for value in map(float, values)]


def error_bars(frame: pd.DataFrame, middle: str, scale: float = 1.0) -> dict[str, Any]:
    """Return plotly's error bars around a column, from the columns ``low`` and ``high``."""
    above = (frame["high"] - frame[middle]).clip(lower=0)
    below = (frame[middle] - frame["low"]).clip(lower=0)
    return {
        "type": "data",
        "symmetric": False,
        "array": plain_numbers(above, scale),
        "arrayminus": plain_numbers(below, scale),
        "thickness": 1.4,
        "width": 3,
    }


def mark_vanilla(figure: go.Figure, *, axis: str) -> go.Figure:
    """Draw a dotted line at a speedup of 1, on the x or the y axis."""
    draw = figure.add_vline if axis == "x" else figure.add_hline
    draw(1.0, line={"color": theme.GREY, "width": 1, "dash": "dot"}, layer="below")
    return figure


def mark_diagonal(figure: go.Figure, low: float, high: float) -> go.Figure:
    """Draw a dotted line where x and y are equal, from ``low`` to ``high``."""
    figure.add_shape(
        type="line",
        x0=low,
        y0=low,
        x1=high,
        y1=high,
        line={"color": theme.GREY, "width": 1, "dash": "dot"},
        layer="below",
    )
    return figure
