"""The map of placements: where to put the heads."""

from __future__ import annotations

from collections.abc import Mapping
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


def placement_item(data: SweepData) -> Figure:
    """Return the map of placements, for each device, policy and number of heads."""
    policies = design_tables.policies(data.designs)
    maps = design_tables.head_counts(data.designs[data.designs["policy"].isin(policies)])
    drawings: dict[tuple[str, ...], Drawing] = {}
    for (device, policy), designs in data.fitting.groupby(["device", "policy"], sort=False):
        if policy not in policies:
            continue
        for name, counts in maps.items():
            cells = design_tables.placement_cells(designs, counts)
            if cells.empty:
                continue
            best = fastest(cells)
            summary = f"{device}: best with {wording.describe(best)}: {wording.gain(best)}."
            drawings[str(device), str(policy), name] = Drawing(
                figure=map_figure(cells), summary=summary
            )
    chosen = "gamma (or one for each head), cap and form" if data.forms else "gamma and cap"
    return Figure(
        name="placements",
        title="Where to put the heads",
        caption=(
            "Each cell: the best speedup of all placements with this shallowest and this deepest "
            f"head, at the best {chosen}. A single head lies on the diagonal. The grey of 1× on "
            "the scale is as fast as vanilla, blue is faster, red slower. The ring marks the best. "
            "Hovering over a cell shows its design and interval; the table below has those of the "
            "best placements."
        ),
        choices=(
            wording.device_choice(data),
            wording.policy_choice(policies),
            Choice(dimension="heads", label="Heads", options=tuple(maps)),
        ),
        drawings=drawings,
    )


def map_figure(cells: pd.DataFrame) -> go.Figure:
    """Draw placements, shallowest against deepest head, coloured by the best speedup.

    Placements of a single head are drawn as bars.

    Args:
        cells: Of `design_tables.placement_cells`.
    """
    if (cells["heads"] <= 1).all():
        return _bars(cells)
    import plotly.graph_objects as go

    shallow, deep = sorted(set(cells["shallow"])), sorted(set(cells["deep"]))
    by_depths = {(row["deep"], row["shallow"]): row for row in cells.to_dict("records")}
    grid = [[by_depths.get((d, s)) for s in shallow] for d in deep]
    low, high = min(1.0, float(cells["speedup"].min())), max(1.0, float(cells["speedup"].max()))
    figure = empty_figure(
        height=150 + max(260, min(24 * len(deep), 520)),
        hovermode="closest",
        coloraxis={
            "cmin": round(low, 3),
            "cmax": round(high, 3),
            "colorscale": theme.speedup_scale(theme.LIGHT, low, high),
        },
    )
    figure.add_trace(
        go.Heatmap(
            x=[str(depth) for depth in shallow],
            y=[str(depth) for depth in deep],
            z=[
                plain_numbers([cell["speedup"] if cell else float("nan") for cell in row])
                for row in grid
            ],
            text=[[_hover(cell) if cell else "" for cell in row] for row in grid],
            coloraxis="coloraxis",
            hoverongaps=False,
            xgap=1,
            ygap=1,
            hovertemplate="%{text}<extra></extra>",
        )
    )
    figure.add_trace(go.Scatter(**_ring(fastest(cells))))
    axis = {"type": "category", "showgrid": False, "categoryorder": "array"}
    figure.update_xaxes(title_text="shallowest head", categoryarray=list(map(str, shallow)), **axis)
    figure.update_yaxes(title_text="deepest head", categoryarray=list(map(str, deep)), **axis)
    return figure


def _ring(best: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ring around the best cell as plotly's scatter."""
    ring = {"size": 13, "symbol": "circle-open", "line": {"width": 2.5}}
    return {
        "name": "best",
        "x": [str(best["shallow"])],
        "y": [str(best["deep"])],
        "mode": "markers",
        "marker": {**ring, "color": theme.SERIES[2]},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _bars(cells: pd.DataFrame) -> go.Figure:
    """Draw the best speedup of each single head, with its interval."""
    import plotly.graph_objects as go

    cells = cells.sort_values("deep")
    rows = cells.rename(columns={"speedup_low": "low", "speedup_high": "high"})
    figure = empty_figure(height=380, hovermode="closest", showlegend=False, bargap=0.35)
    figure.add_trace(
        go.Bar(
            name="best",
            x=rows["deep"].tolist(),
            y=plain_numbers(rows["speedup"]),
            marker={"color": theme.SERIES[0]},
            error_y={**error_bars(rows, "speedup"), "color": theme.GREY},
            text=[_hover(row) for row in cells.to_dict("records")],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="depth of the head", dtick=1 if len(rows) < 33 else None)
    figure.update_yaxes(title_text="best speedup", ticksuffix="×", rangemode="tozero")
    return mark_vanilla(figure, axis="y")


def _hover(row: Mapping[Any, Any]) -> str:
    """Return the best design of a cell for hovering."""
    seconds = formatting.milliseconds(row["tpot_s"])
    return f"{formatting.in_plot(row['design'])}<br>{wording.gain(row)}, {seconds} a token"
