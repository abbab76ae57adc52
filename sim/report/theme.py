"""Colours and the look of figures in the light and the dark scheme.

The page's style and plotly's templates are made of the same few values.
"""

from __future__ import annotations

from typing import Any

from adadecode.sim.visualization.schedule_cells import FATES

LIGHT = {
    "paper": "#ffffff",
    "panel": "#f6f7f9",
    "ink": "#1f2430",
    "soft": "#596273",
    "faint": "#8b93a1",
    "line": "#dfe3e9",
    "grid": "#e9ecf1",
    "accent": "#2f5fa7",
    "good": "#2a9d74",
    "slower": "#b3344c",
    "middle": "#f1f2f4",
    "fast": "#a5c8ea",
    "faster": "#4383c4",
    "fastest": "#15417a",
}
DARK = {
    "paper": "#13161b",
    "panel": "#1b1f26",
    "ink": "#e7eaf0",
    "soft": "#a5aebd",
    "faint": "#788293",
    "line": "#2d333d",
    "grid": "#262b34",
    "accent": "#86b1f0",
    "good": "#3fb98c",
    "slower": "#e0718a",
    "middle": "#262b34",
    "fast": "#2a527f",
    "faster": "#5796dc",
    "fastest": "#d3e7ff",
}
"""The colours of the two schemes.

``paper`` and ``panel`` are backgrounds; ``ink``, ``soft`` and ``faint`` are text; ``line`` is for
rules and borders, ``grid`` for figures; ``good`` marks a trusted recording; ``slower`` to
``fastest`` are the scale of speedups, with ``middle`` at 1.
"""

SERIES = ("#4c78b8", "#2a9d74", "#d9952b", "#c7566a", "#8465b3", "#3a9cb8", "#a3743d", "#7d8796")
"""Lines and bars: distinct to the colour-blind as well, on both backgrounds."""

ACCEPTED, REJECTED, LAST = FATES["accepted draft"], FATES["rejected draft"], FATES["last layer"]
PART_COLOURS = {
    "layers_useful": LAST,
    "layers_discarded": REJECTED,
    "heads": ACCEPTED,
    "verify": "#d9952b",
    "host": "#8b93a1",
    "undivided": "#b3bdcc",
}
GREY = "#8b93a1"

FONT = (
    "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, "
    "sans-serif"
)


def speedup_scale(colours: dict[str, str], low: float, high: float) -> list[tuple[float, str]]:
    """Return plotly's colour scale for speedups from ``low`` to ``high``.

    The scale is neutral at 1, and on either side as strong as it is far from 1.

    Args:
        colours: `LIGHT` or `DARK`.
        low: The lowest speedup, at most 1.
        high: The highest speedup, at least 1.
    """
    reach = max(1 - low, high - 1)
    neutral = colours["middle"]
    if reach == 0:
        return [(0.0, neutral), (1.0, neutral)]
    one = (1 - low) / (high - low)
    below, above = [], []
    if one > 0:
        below = [(0.0, mix(neutral, colours["slower"], (1 - low) / reach))]
    if one < 1:
        steps = [colours[name] for name in ("middle", "fast", "faster", "fastest")]
        strength = (high - 1) / reach
        above = [
            (one + (1 - one) * share, _interpolate(steps, share * strength))
            for share in (1 / 3, 2 / 3, 1.0)
        ]
    return [*below, (one, neutral), *above]


def mix(first: str, second: str, share: float) -> str:
    """Return the colour ``share`` of the way from the first to the second, all as #rrggbb."""
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _interpolate(steps: list[str], share: float) -> str:
    """Return the colour ``share`` of the way along evenly spaced steps."""
    step = min(int(share * (len(steps) - 1)), len(steps) - 2)
    return mix(steps[step], steps[step + 1], share * (len(steps) - 1) - step)


def template(colours: dict[str, str]) -> dict[str, Any]:
    """Return a plotly template in the colours of a scheme."""
    axis = {
        "gridcolor": colours["grid"],
        "linecolor": colours["line"],
        "tickcolor": colours["line"],
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 10, "font": {"color": colours["soft"], "size": 12.5}},
        "tickfont": {"color": colours["soft"], "size": 12},
    }
    layout = {
        "font": {"family": FONT, "size": 12.5, "color": colours["ink"]},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": list(SERIES),
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "xaxis": axis,
        "yaxis": axis,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"color": colours["soft"], "size": 12},
            "bgcolor": "rgba(0,0,0,0)",
        },
        "hoverlabel": {
            "bgcolor": colours["ink"],
            "bordercolor": colours["ink"],
            "font": {"family": FONT, "size": 12.5, "color": colours["paper"]},
            "align": "left",
        },
        "coloraxis": {
            "colorbar": {
                "thickness": 10,
                "outlinewidth": 0,
                "len": 0.9,
                "tickfont": {"color": colours["soft"]},
                "ticksuffix": "×",
            },
        },
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": colours["faint"],
            "activecolor": colours["accent"],
        },
    }
    return {"layout": layout}
