"""The canvas that a schedule is drawn on: where things are, and what has been drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from adadecode.sim.core.shown_text import shown

INK, SOFT, FAINT = "#1f2430", "#5d6675", "#a3abb8"
BAND, PAPER, VERIFY, GATE = "#f4f5f8", "#ffffff", "#d9952b", "#8a63b8"
"""Colours: of text, of the band behind a segment, of the page, of verification, of gates."""

STRIP = 18.0
"""Pixels: height of a token's strip."""

PAD = 4.0
"""Pixels: the space above and below the strips of a segment."""

HEAD_LANE = 22.0
"""Pixels: height of the lane of a head's checks, and of verification."""

LEFT, RIGHT, TOP, BOTTOM = 104.0, 26.0, 74.0, 46.0
"""Pixels: margins around the lanes."""

NARROWEST = 30.0
"""Pixels: width of the shortest pass through a segment, unless the whole gets too wide."""

LEAST_WIDTH, MOST_WIDTH = 820.0, 3600.0
"""Pixels: of the whole time."""

CHARACTER = 6.6
"""Pixels: mean width of a character at 11 pixels."""

FONT = (
    "font-family: ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, "
    "sans-serif; font-variant-numeric: tabular-nums"
)


@dataclass
class Canvas:
    """The lanes of a schedule in pixels, and the elements drawn so far.

    Attributes:
        scale: Pixels a second.
        segments: Top and height of the lane of each segment, by the depth where it ends, the
            deepest first.
        heads: Top of the lane of each head, by its depth.
        verify: Top of the lane of verification.
        text: Top of the lane of the text.
        bottom: Bottom of the lowest lane.
        width: Of the whole picture.
        elements: What has been drawn, as SVG.
    """

    scale: float
    segments: dict[int, tuple[float, float]]
    heads: dict[int, float]
    verify: float
    text: float
    bottom: float
    width: float
    elements: list[str] = field(default_factory=list)

    @classmethod
    def for_cells(cls, cells: pd.DataFrame, boundaries: Sequence[int]) -> Canvas:
        """Return an empty canvas that is large enough for the cells of a schedule.

        Lanes from the top: text, verify, then segments and heads, the deepest first.
        """
        runs = cells[cells["kind"] == "run"]
        total = float(cells["stop_s"].max())
        shortest = float((runs["stop_s"] - runs["start_s"]).min())
        along = min(max(NARROWEST / shortest * total, LEAST_WIDTH), MOST_WIDTH)
        text = TOP
        verify = text + STRIP + 2 * PAD
        y = verify + HEAD_LANE
        segments: dict[int, tuple[float, float]] = {}
        heads: dict[int, float] = {}
        for start, stop in reversed(list(pairwise(boundaries))):
            slots = runs.loc[runs["depth"] == stop, "slot"]
            batch = int(slots.max()) + 1 if len(slots) else 1
            height = batch * STRIP + 2 * PAD
            segments[stop] = (y, height)
            y += height
            if start > 0:
                heads[start] = y
                y += HEAD_LANE
        return cls(
            scale=along / total,
            segments=segments,
            heads=heads,
            verify=verify,
            text=text,
            bottom=y,
            width=LEFT + along + RIGHT,
        )

    def x(self, seconds: float) -> float:
        """Return where a time is, in pixels from the left."""
        return LEFT + seconds * self.scale

    def strip(
        self, *, depth: int, slot: int, start_s: float, stop_s: float
    ) -> tuple[float, float, float, float]:
        """Return x, y, width and height of a token in a pass through the segment ending at depth.

        The oldest token of a batch lies lowest.
        """
        top, height = self.segments[depth]
        y = top + height - PAD - (slot + 1) * STRIP
        return self.x(start_s) + 0.5, y + 1, (stop_s - start_s) * self.scale - 1, STRIP - 2

    def add(self, tag: str, content: str = "", **attributes: float | str) -> None:
        """Add an element.

        Args:
            tag: Its name.
            content: What stands in it, as SVG.
            attributes: Numbers are written to a hundredth of a pixel; ``_`` in names as ``-``.
        """
        pairs = (
            (name.rstrip("_").replace("_", "-"), _number(value))
            for name, value in attributes.items()
        )
        body = "".join(f" {name}={quoteattr(value)}" for name, value in pairs)
        self.elements.append(f"<{tag}{body}>{content}</{tag}>" if content else f"<{tag}{body}/>")

    def write(
        self,
        x: float,
        y: float,
        words: str,
        *,
        fill: str = INK,
        anchor: str = "middle",
        size: float = 11.0,
        weight: int = 400,
    ) -> None:
        """Add a line of text."""
        self.add(
            "text",
            in_svg(words),
            x=x,
            y=y,
            fill=fill,
            text_anchor=anchor,
            font_size=size,
            font_weight=str(weight),
        )

    def svg(self, title: str) -> str:
        """Return the whole picture as a standalone SVG."""
        width, height = f"{self.width:.0f}", f"{self.bottom + BOTTOM:.0f}"
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" style="{FONT}">'
        )
        background = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        return "\n".join(
            [head, f"<title>{in_svg(title)}</title>", background, *self.elements, "</svg>\n"]
        )


def in_svg(words: str) -> str:
    """Escape words for SVG; XML knows no way to write most control characters."""
    return escape(shown(words))


def _number(value: float | str) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def shorten(words: str, width: float) -> str:
    """Return as much of the words as fits into a width in pixels."""
    room = int(width / CHARACTER)
    if len(words) <= room:
        return words
    return words[: room - 1] + "…" if room > 1 else ""
