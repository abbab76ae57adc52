"""Draws the cells of a schedule as a standalone SVG: no plotting library, no script, no fonts to load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from adadecode.profiles.errors import ProfileError
from adadecode.sim.visualization.schedule_figure import FATES

INK, SOFT, FAINT, BAND, PAPER, VERIFY = (
    "#1f2430",
    "#5d6675",
    "#a3abb8",
    "#f4f5f8",
    "#ffffff",
    "#d9952b",
)
STRIP, PAD, HEAD = (
    18.0,
    4.0,
    22.0,
)  # pixels: a token's strip, the air around strips, a lane of checks
LEFT, RIGHT, TOP, BOTTOM = 104.0, 26.0, 74.0, 46.0
NARROWEST, LEAST, MOST = (
    30.0,
    820.0,
    3600.0,
)  # pixels: of the shortest pass through a segment, of the whole time
CHARACTER = 6.6  # pixels, at 11 px
TICKS = (1, 2, 5)


@dataclass
class _Page:
    """Where things are: seconds to pixels, lanes to pixels; and what has been drawn."""

    scale: float  # pixels a second
    segments: dict[
        int, tuple[float, float]
    ]  # depth -> (top, height) of the lane of the segment that ends there
    heads: dict[int, float]  # depth -> top of the head's lane
    verify: float
    text: float
    bottom: float
    drawn: list[str] = field(default_factory=list)

    def x(self, seconds: float) -> float:
        return LEFT + seconds * self.scale

    def strip(
        self, *, depth: int, slot: int, start_s: float, stop_s: float
    ) -> tuple[float, float, float, float]:
        """(x, y, width, height) of a token in a pass through the segment that ends at depth; the oldest of a batch lies lowest."""
        top, height = self.segments[depth]
        y = top + height - PAD - (slot + 1) * STRIP
        return self.x(start_s) + 0.5, y + 1, (stop_s - start_s) * self.scale - 1, STRIP - 2

    def add(self, tag: str, content: str = "", **attributes: float | str) -> None:
        """An element; numbers to a hundredth of a pixel, ``_`` in names as ``-``."""
        shown = (
            (
                name.rstrip("_").replace("_", "-"),
                f"{v:.2f}".rstrip("0").rstrip(".") if isinstance(v, float) else str(v),
            )
            for name, v in attributes.items()
        )
        body = "".join(f" {name}={quoteattr(value)}" for name, value in shown)
        self.drawn.append(f"<{tag}{body}>{content}</{tag}>" if content else f"<{tag}{body}/>")

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
        self.add(
            "text",
            escape(words),
            x=x,
            y=y,
            fill=fill,
            text_anchor=anchor,
            font_size=size,
            font_weight=str(weight),
        )


def draw_schedule(cells: pd.DataFrame, boundaries: Sequence[int], *, title: str = "") -> str:
    """The SVG of `adadecode.sim.visualization.schedule_figure.cells`. boundaries: of the segments, 0..L. Raises ProfileError where there is nothing to draw."""
    if cells.empty:
        raise ProfileError(
            "nothing to draw: the prompt's text has one token, and the prefill gave it"
        )
    page, width = _layout(cells, boundaries)
    for part in (_lanes, _rounds, _waits, _strips, _checks, _verdicts, _axis):
        part(page, cells)
    _legend(page, title)
    height = page.bottom + BOTTOM
    style = "font-family: ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; font-variant-numeric: tabular-nums"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" style="{style}">'
    return "\n".join(
        [
            head,
            f"<title>{escape(title or 'schedule')}</title>",
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            *page.drawn,
            "</svg>\n",
        ]
    )


def _layout(cells: pd.DataFrame, boundaries: Sequence[int]) -> tuple[_Page, float]:
    """The page and its width. Lanes from the top: text, verify, then segments and heads, the deepest first."""
    runs = cells[cells["kind"] == "run"]
    total = float(cells["stop_s"].max())
    shortest = float((runs["stop_s"] - runs["start_s"]).min())
    along = min(max(NARROWEST / shortest * total, LEAST), MOST)
    y = TOP
    text, y = y, y + STRIP + 2 * PAD
    verify, y = y, y + HEAD
    segments: dict[int, tuple[float, float]] = {}
    heads: dict[int, float] = {}
    for start, stop in reversed(list(pairwise(boundaries))):
        batch = (
            int(runs.loc[runs["depth"] == stop, "slot"].max()) + 1
            if (runs["depth"] == stop).any()
            else 1
        )
        segments[stop] = (y, batch * STRIP + 2 * PAD)
        y += segments[stop][1]
        if start > 0:
            heads[start], y = y, y + HEAD
    return _Page(
        scale=along / total, segments=segments, heads=heads, verify=verify, text=text, bottom=y
    ), LEFT + along + RIGHT


def _lanes(page: _Page, cells: pd.DataFrame) -> None:
    """A band and a name for each segment, names for the lanes between."""
    right = page.x(float(cells["stop_s"].max()))
    starts = dict(zip(page.segments, [*list(page.segments)[1:], 0], strict=True))
    for depth, (top, height) in page.segments.items():
        page.add("rect", x=LEFT, y=top, width=right - LEFT, height=height, fill=BAND)
        first = starts[depth] + 1
        page.write(
            LEFT - 10,
            top + height / 2 + 4,
            f"layers {first}-{depth}" if first < depth else f"layer {depth}",
            anchor="end",
        )
    for depth, top in page.heads.items():
        page.write(LEFT - 10, top + HEAD / 2 + 4, f"head {depth}", fill=SOFT, anchor="end")
    page.write(LEFT - 10, page.verify + HEAD / 2 + 4, "verify", fill=SOFT, anchor="end")
    page.write(LEFT - 10, page.text + PAD + STRIP / 2 + 4, "text", fill=SOFT, anchor="end")


def _rounds(page: _Page, cells: pd.DataFrame) -> None:
    """A line where a round ends, and above it how the round went."""
    for number, part in cells.groupby("round"):
        start, stop = page.x(float(part["start_s"].min())), page.x(float(part["stop_s"].max()))
        page.add(
            "line",
            x1=stop,
            y1=TOP - 6,
            x2=stop,
            y2=page.bottom,
            stroke=FAINT,
            stroke_width=1.0,
            stroke_dasharray="2 3",
        )
        fates = part.drop_duplicates("output")["fate"].value_counts()
        accepted, rejected = (
            int(fates.get("accepted draft", 0)),
            int(fates.get("rejected draft", 0)),
        )
        drafts = (
            f", {accepted} of {accepted + rejected} drafts right" if accepted + rejected else ""
        )
        for words in (
            f"round {int(str(number)) + 1}{drafts}",
            f"round {int(str(number)) + 1}",
            str(int(str(number)) + 1),
        ):
            if len(words) * CHARACTER < stop - start:
                page.write((start + stop) / 2, TOP - 10, words, fill=SOFT)
                break


def _waits(page: _Page, cells: pd.DataFrame) -> None:
    """A dotted line while a token waits for its next layers, where it will run."""
    runs = cells[cells["kind"] == "run"]
    for _, part in runs.groupby(["round", "output"]):
        for before, after in pairwise(_rows(part.sort_values("start_s"))):
            x, y, _, height = page.strip(
                depth=after.depth, slot=after.slot, start_s=after.start_s, stop_s=after.stop_s
            )
            if (after.start_s - before.stop_s) * page.scale > 6:
                path = f"M{page.x(before.stop_s) + 2:.2f} {y + height / 2:.2f}H{x - 2:.2f}"
                dots = {
                    "stroke": FATES[after.fate],
                    "stroke_dasharray": "0.1 4",
                    "stroke_linecap": "round",
                }
                page.add("path", d=path, fill="none", stroke_width=1.4, opacity=0.75, **dots)


def _strips(page: _Page, cells: pd.DataFrame) -> None:
    """A token in a pass through a segment."""
    for row in _rows(cells[cells["kind"] == "run"]):
        x, y, width, height = page.strip(
            depth=row.depth, slot=row.slot, start_s=row.start_s, stop_s=row.stop_s
        )
        hover = f"<title>{escape(f'output {row.output} ({row.label}): {row.fate}, {(row.stop_s - row.start_s) * 1e3:.2f} ms')}</title>"
        page.add("rect", hover, x=x, y=y, width=width, height=height, rx=3.0, fill=FATES[row.fate])
        if label := _fit(row.label, width - 4):
            page.write(x + width / 2, y + height / 2 + 4, label, fill=PAPER, weight=600)


def _checks(page: _Page, cells: pd.DataFrame) -> None:
    """How sure a head was: filled where it was sure enough, with the way to the token that then starts."""
    checks = cells[cells["kind"] == "check"]
    firsts = cells[(cells["kind"] == "run") & (cells["depth"] == min(page.segments))]
    for depth, lane in checks.groupby("depth"):
        top = page.heads[int(str(depth))]
        ordered = _rows(lane)
        for row, following in zip(ordered, [*ordered[1:], None], strict=True):
            x, width = page.x(row.start_s), max((row.stop_s - row.start_s) * page.scale, 3.0)
            shape = {
                "x": x + 0.5,
                "y": top + 5,
                "width": width - 1,
                "height": HEAD - 10,
                "rx": 2.0,
                "stroke": INK,
            }
            page.add("rect", **shape, fill=INK if row.says else PAPER)
            room = (
                (
                    page.x(following.start_s)
                    if following is not None
                    else page.x(float(cells["stop_s"].max()))
                )
                - x
                - width
                - 8
            )
            sure = f"{row.confidence:.2f}"
            words = next(
                (
                    w
                    for w in ((f"{sure} → {row.says}", sure) if row.says else (sure,))
                    if len(w) * CHARACTER < room
                ),
                "",
            )
            page.write(
                x + width + 4,
                top + HEAD / 2 + 4,
                words,
                fill=INK if row.says else FAINT,
                anchor="start",
                size=10.0,
                weight=600 if row.says else 400,
            )
            starts = firsts[(firsts["round"] == row.round) & (firsts["output"] == row.output + 1)]
            for started in _rows(starts.head(1)) if row.says else ():
                to_x, to_y, _, _ = page.strip(
                    depth=started.depth,
                    slot=started.slot,
                    start_s=started.start_s,
                    stop_s=started.stop_s,
                )
                from_y = top + HEAD - 5
                bend = f"M{x + width / 2:.2f} {from_y:.2f}C{x + width / 2:.2f} {to_y - 2:.2f} {to_x + 6:.2f} {from_y:.2f} {to_x + 6:.2f} {to_y - 1:.2f}"
                page.add("path", d=bend, fill="none", stroke=FATES[started.fate], stroke_width=1.6)


def _verdicts(page: _Page, cells: pd.DataFrame) -> None:
    """Verification, and above its end the tokens it added to the text."""
    for number, part in cells[cells["kind"] == "verify"].groupby("round"):
        row = _rows(part)[0]
        x, width = page.x(row.start_s), max((row.stop_s - row.start_s) * page.scale, 4.0)
        page.add(
            "rect",
            x=x + 0.5,
            y=page.verify + 5,
            width=width - 1,
            height=HEAD - 10,
            rx=2.0,
            fill=VERIFY,
        )
        of_round = cells[(cells["round"] == number) & (cells["kind"] == "run")]
        kept = (
            of_round[of_round["fate"] == "accepted draft"]
            .drop_duplicates("output")
            .sort_values("output")
        )
        chips = [*zip(kept["label"], kept["fate"], strict=True), (row.says, "last layer")]
        room = (x + width - page.x(float(of_round["start_s"].min()))) / len(chips)
        each = min(room, max(24.0, 12.0 + CHARACTER * max(len(label) for label, _ in chips)))
        for back, (label, fate) in enumerate(reversed(chips), start=1):
            left = x + width - back * each
            page.add(
                "rect",
                x=left + 1,
                y=page.text + PAD,
                width=each - 2,
                height=STRIP,
                rx=STRIP / 2,
                fill=PAPER,
                stroke=FATES[fate],
                stroke_width=1.5,
            )
            page.write(
                left + each / 2,
                page.text + PAD + STRIP / 2 + 4,
                _fit(label, each - 8),
                fill=FATES[fate],
                weight=600,
            )


def _axis(page: _Page, cells: pd.DataFrame) -> None:
    """Milliseconds, at round numbers about 90 pixels apart."""
    total = float(cells["stop_s"].max())
    page.add(
        "line", x1=LEFT, y1=page.bottom + 4, x2=page.x(total), y2=page.bottom + 4, stroke=FAINT
    )
    step = next(s for s in _round_numbers() if s * page.scale >= 90)
    for tick in range(int(total / step) + 1):
        x = page.x(tick * step)
        page.add("line", x1=x, y1=page.bottom + 4, x2=x, y2=page.bottom + 9, stroke=FAINT)
        page.write(
            x, page.bottom + 22, f"{tick * step * 1e3:g}" + (" ms" if tick == 0 else ""), fill=SOFT
        )


def _legend(page: _Page, title: str) -> None:
    page.write(14, 26, title, anchor="start", size=15.0, weight=600)
    x = 14.0
    for words, fill in [
        *((f"{fate}", colour) for fate, colour in FATES.items()),
        ("verify", VERIFY),
        ("sure enough to exit", INK),
        ("not sure", PAPER),
    ]:
        page.add(
            "rect",
            x=x,
            y=37.0,
            width=11.0,
            height=11.0,
            rx=2.0,
            fill=fill,
            stroke=INK if fill in {INK, PAPER} else fill,
        )
        page.write(x + 17, 47, words, fill=SOFT, anchor="start")
        x += 17 + len(words) * CHARACTER + 16


def _rows(frame: pd.DataFrame) -> list[Any]:
    """The rows as named tuples; Any, for the type of a column is known only when it is read."""
    return list(frame.itertuples())


def _fit(words: str, width: float) -> str:
    """As much of the words as the width holds."""
    room = int(width / CHARACTER)
    return words if len(words) <= room else words[: room - 1] + "…" if room > 1 else ""


def _round_numbers() -> Iterator[float]:
    """1, 2, 5, 10, ... from a microsecond on, in seconds."""
    for power in range(-6, 6):
        for digit in TICKS:
            yield digit * 10.0**power
