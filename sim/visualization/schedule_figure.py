"""A picture of the first rounds of a schedule to zoom into: a plotly figure.

It is like the paper's figure 2: time to the right, depth upwards, and a strip for each token. Needs
plotly (the extra ``report``).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import pandas as pd

from adadecode.sim.core.shown_text import shown
from adadecode.sim.visualization.schedule_cells import FATES

if TYPE_CHECKING:
    import plotly.graph_objects as go


def schedule_figure(
    cells: pd.DataFrame, boundaries: Sequence[int], *, title: str = ""
) -> go.Figure:
    """Draw the cells of a schedule with plotly.

    Args:
        cells: Of `adadecode.sim.visualization.schedule_cells.cells`.
        boundaries: The design's segments, 0..L.
        title: The title.
    """
    import plotly.graph_objects as go

    depths = list(boundaries[1:])
    runs = cells[cells["kind"] == "run"]
    strips = int(runs["slot"].max()) + 1  # in each segment
    figure = go.Figure()
    for fate, colour in FATES.items():
        part = runs[runs["fate"] == fate]
        rounds = (part["round"] + 1).astype(str)
        figure.add_trace(
            go.Bar(
                name=fate,
                base=part["start_s"] * 1e3,
                x=(part["stop_s"] - part["start_s"]) * 1e3,
                y=part["depth"].map(depths.index) + part["slot"] / strips,
                orientation="h",
                width=0.9 / strips,
                offset=0,
                marker_color=colour,
                text=part["label"].map(_in_plot),
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                hovertext="output " + part["output"].astype(str) + ", round " + rounds,
            )
        )
    names = [f"layers {start + 1}-{stop}" for start, stop in pairwise(boundaries)]
    figure.update_yaxes(tickvals=[i + 0.45 for i in range(len(depths))], ticktext=names)
    figure.update_xaxes(title="ms")
    figure.update_layout(
        title=_in_plot(title),
        barmode="overlay",
        template="plotly_white",
        height=140 + 18 * len(depths) * strips,
    )
    return figure


def _in_plot(words: str) -> str:
    """Escape words for plotly, which reads a little HTML everywhere."""
    return escape(shown(words))
