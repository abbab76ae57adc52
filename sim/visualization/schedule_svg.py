"""A picture of the first rounds of a schedule as a standalone SVG.

It is like the paper's figure 2: time to the right, depth upwards, and a strip for each token. It
needs no plotting library, no script and no fonts to load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from adadecode.profiles.errors import ProfileError
from adadecode.sim.visualization.schedule_cells import FATES
from adadecode.sim.visualization.svg_canvas import (
    BAND,
    CHARACTER,
    FAINT,
    GATE,
    HEAD_LANE,
    INK,
    LEFT,
    PAD,
    PAPER,
    SOFT,
    STRIP,
    TOP,
    VERIFY,
    Canvas,
    in_svg,
    shorten,
)

TICK_PIXELS = 90
"""Least distance of ticks on the time axis."""


def draw_schedule(cells: pd.DataFrame, boundaries: Sequence[int], *, title: str = "") -> str:
    """Return the cells of a schedule as an SVG.

    Args:
        cells: Of `adadecode.sim.visualization.schedule_cells.cells`.
        boundaries: The design's segments, 0..L.
        title: The title.

    Raises:
        ProfileError: If there is nothing to draw.
    """
    if cells.empty:
        raise ProfileError(
            "nothing to draw: the prompt's text has one token, and the prefill gave it"
        )
    canvas = Canvas.for_cells(cells, boundaries)
    _draw_lanes(canvas, cells)
    _draw_rounds(canvas, cells)
    _draw_waits(canvas, cells)
    _draw_strips(canvas, cells)
    _draw_gates(canvas, cells)
    _draw_checks(canvas, cells)
    _draw_verdicts(canvas, cells)
    _draw_axis(canvas, cells)
    _draw_legend(canvas, title, gates=bool((cells["kind"] == "gate").any()))
    return canvas.svg(title or "schedule")


def _draw_lanes(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw a band and a name for each segment, and names for the lanes between them."""
    right = canvas.x(float(cells["stop_s"].max()))
    starts = dict(zip(canvas.segments, [*list(canvas.segments)[1:], 0], strict=True))
    for depth, (top, height) in canvas.segments.items():
        canvas.add("rect", x=LEFT, y=top, width=right - LEFT, height=height, fill=BAND)
        first = starts[depth] + 1
        name = f"layers {first}-{depth}" if first < depth else f"layer {depth}"
        canvas.write(LEFT - 10, top + height / 2 + 4, name, anchor="end")
    for depth, top in canvas.heads.items():
        canvas.write(LEFT - 10, top + HEAD_LANE / 2 + 4, f"head {depth}", fill=SOFT, anchor="end")
    canvas.write(LEFT - 10, canvas.verify + HEAD_LANE / 2 + 4, "verify", fill=SOFT, anchor="end")
    canvas.write(LEFT - 10, canvas.text + PAD + STRIP / 2 + 4, "text", fill=SOFT, anchor="end")


def _draw_rounds(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw a line where a round ends, and above it how many of its drafts were right."""
    for number, part in cells.groupby("round"):
        start, stop = canvas.x(float(part["start_s"].min())), canvas.x(float(part["stop_s"].max()))
        canvas.add(
            "line",
            x1=stop,
            y1=TOP - 6,
            x2=stop,
            y2=canvas.bottom,
            stroke=FAINT,
            stroke_width=1.0,
            stroke_dasharray="2 3",
        )
        fates = part.drop_duplicates("output")["fate"].value_counts()
        accepted = int(fates.get("accepted draft", 0))
        drafts = accepted + int(fates.get("rejected draft", 0))
        ordinal = int(str(number)) + 1
        longest = f"round {ordinal}{f', {accepted} of {drafts} drafts right' if drafts else ''}"
        label = _longest_that_fits([longest, f"round {ordinal}", str(ordinal)], stop - start)
        if label:
            canvas.write((start + stop) / 2, TOP - 10, label, fill=SOFT)


def _longest_that_fits(labels: Sequence[str], width: float) -> str:
    """Return the first label that fits into a width in pixels; empty if none does."""
    return next((label for label in labels if len(label) * CHARACTER < width), "")


def _draw_waits(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw a dotted line while a token waits for its next layers, where it will run."""
    runs = cells[cells["kind"] == "run"]
    for _, part in runs.groupby(["round", "output"]):
        for before, after in pairwise(_rows(part.sort_values("start_s"))):
            x, y, _, height = _strip(canvas, after)
            if (after.start_s - before.stop_s) * canvas.scale > 6:
                start = canvas.x(before.stop_s) + 2
                canvas.add(
                    "path",
                    d=f"M{start:.2f} {y + height / 2:.2f}H{x - 2:.2f}",
                    fill="none",
                    stroke_width=1.4,
                    opacity=0.75,
                    stroke=FATES[after.fate],
                    stroke_dasharray="0.1 4",
                    stroke_linecap="round",
                )


def _draw_strips(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw each token in each pass through a segment."""
    for row in _rows(cells[cells["kind"] == "run"]):
        x, y, width, height = _strip(canvas, row)
        milliseconds = (row.stop_s - row.start_s) * 1e3
        hover = f"output {row.output} ({row.label}): {row.fate}, {milliseconds:.2f} ms"
        canvas.add(
            "rect",
            f"<title>{in_svg(hover)}</title>",
            x=x,
            y=y,
            width=width,
            height=height,
            rx=3.0,
            fill=FATES[row.fate],
        )
        if label := shorten(row.label, width - 4):
            canvas.write(x + width / 2, y + height / 2 + 4, label, fill=PAPER, weight=600)


def _draw_gates(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw each question to a gate in the lane of its head, filled if the head was asked."""
    for row in _rows(cells[cells["kind"] == "gate"]):
        verdict = "the head is asked" if row.next_label else "the head is not asked"
        hover = f"gate {row.depth}: score {row.confidence:.2f}, {verdict}"
        canvas.add(
            "rect",
            f"<title>{in_svg(hover)}</title>",
            x=canvas.x(row.start_s) + 0.5,
            y=canvas.heads[row.depth] + 3,
            width=_check_width(canvas, row) - 1,
            height=HEAD_LANE - 6,
            rx=1.0,
            stroke=GATE,
            fill=GATE if row.next_label else PAPER,
        )


def _draw_checks(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw each check of a head, filled if its confidence let the next token start."""
    checks = cells[cells["kind"] == "check"]
    end = canvas.x(float(cells["stop_s"].max()))
    for _, lane in checks.groupby("depth"):
        ordered = _rows(lane)
        for row, following in zip(ordered, [*ordered[1:], None], strict=True):
            _draw_check(canvas, row, end if following is None else canvas.x(following.start_s))
            if row.next_label:
                _draw_start(canvas, row, cells)


def _draw_check(canvas: Canvas, row: Any, next_x: float) -> None:  # noqa: ANN401 - a named tuple
    """Draw a check and its confidence, as far as there is room before the next check."""
    top = canvas.heads[row.depth]
    x, width = canvas.x(row.start_s), _check_width(canvas, row)
    canvas.add(
        "rect",
        x=x + 0.5,
        y=top + 5,
        width=width - 1,
        height=HEAD_LANE - 10,
        rx=2.0,
        stroke=INK,
        fill=INK if row.next_label else PAPER,
    )
    confidence = f"{row.confidence:.2f}"
    labels = [f"{confidence} → {row.next_label}"] if row.next_label else []
    canvas.write(
        x + width + 4,
        top + HEAD_LANE / 2 + 4,
        _longest_that_fits([*labels, confidence], next_x - x - width - 8),
        fill=INK if row.next_label else FAINT,
        anchor="start",
        size=10.0,
        weight=600 if row.next_label else 400,
    )


def _draw_start(canvas: Canvas, check: Any, cells: pd.DataFrame) -> None:  # noqa: ANN401 - as above
    """Draw the way from a check to the token that starts on its draft."""
    started = cells[
        (cells["kind"] == "run")
        & (cells["depth"] == min(canvas.segments))
        & (cells["round"] == check.round)
        & (cells["output"] == check.output + 1)
    ]
    for row in _rows(started.head(1)):
        to_x, to_y, _, _ = _strip(canvas, row)
        x = canvas.x(check.start_s) + _check_width(canvas, check) / 2
        y = canvas.heads[check.depth] + HEAD_LANE - 5
        canvas.add(
            "path",
            d=(
                f"M{x:.2f} {y:.2f}C{x:.2f} {to_y - 2:.2f} "
                f"{to_x + 6:.2f} {y:.2f} {to_x + 6:.2f} {to_y - 1:.2f}"
            ),
            fill="none",
            stroke=FATES[row.fate],
            stroke_width=1.6,
        )


def _check_width(canvas: Canvas, row: Any) -> float:  # noqa: ANN401 - as above
    return max(float(row.stop_s - row.start_s) * canvas.scale, 3.0)


def _draw_verdicts(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw each verification, and above its end the tokens that it added to the text."""
    for number, part in cells[cells["kind"] == "verify"].groupby("round"):
        row = _rows(part)[0]
        x, width = canvas.x(row.start_s), max((row.stop_s - row.start_s) * canvas.scale, 4.0)
        canvas.add(
            "rect",
            x=x + 0.5,
            y=canvas.verify + 5,
            width=width - 1,
            height=HEAD_LANE - 10,
            rx=2.0,
            fill=VERIFY,
        )
        runs = cells[(cells["round"] == number) & (cells["kind"] == "run")]
        accepted = runs[runs["fate"] == "accepted draft"]
        accepted = accepted.drop_duplicates("output").sort_values("output")
        tokens = [
            *zip(accepted["label"], accepted["fate"], strict=True),
            (row.next_label, "last layer"),
        ]
        _draw_tokens(canvas, tokens, canvas.x(float(runs["start_s"].min())), x + width)


def _draw_tokens(
    canvas: Canvas, tokens: Sequence[tuple[str, str]], left: float, right: float
) -> None:
    """Draw tokens of the text, each with its label and fate, so that they end at ``right``."""
    room = (right - left) / len(tokens)
    width = min(room, max(24.0, 12.0 + CHARACTER * max(len(label) for label, _ in tokens)))
    for back, (label, fate) in enumerate(reversed(tokens), start=1):
        x = right - back * width
        canvas.add(
            "rect",
            x=x + 1,
            y=canvas.text + PAD,
            width=width - 2,
            height=STRIP,
            rx=STRIP / 2,
            fill=PAPER,
            stroke=FATES[fate],
            stroke_width=1.5,
        )
        canvas.write(
            x + width / 2,
            canvas.text + PAD + STRIP / 2 + 4,
            shorten(label, width - 8),
            fill=FATES[fate],
            weight=600,
        )


def _draw_axis(canvas: Canvas, cells: pd.DataFrame) -> None:
    """Draw the time axis in milliseconds, with ticks at round numbers."""
    total, y = float(cells["stop_s"].max()), canvas.bottom + 4
    canvas.add("line", x1=LEFT, y1=y, x2=canvas.x(total), y2=y, stroke=FAINT)
    step = next(s for s in _round_numbers() if s * canvas.scale >= TICK_PIXELS)
    for tick in range(int(total / step) + 1):
        x = canvas.x(tick * step)
        canvas.add("line", x1=x, y1=y, x2=x, y2=y + 5, stroke=FAINT)
        label = f"{tick * step * 1e3:g}" + (" ms" if tick == 0 else "")
        canvas.write(x, y + 18, label, fill=SOFT)


def _draw_legend(canvas: Canvas, title: str, *, gates: bool) -> None:
    canvas.write(14, 26, title, anchor="start", size=15.0, weight=600)
    x = 14.0
    for label, fill in [
        *FATES.items(),
        ("verify", VERIFY),
        ("sure enough to exit", INK),
        ("not sure", PAPER),
        *([("gate lets the head be asked", GATE)] if gates else []),
    ]:
        stroke = INK if fill in {INK, PAPER} else fill
        canvas.add("rect", x=x, y=37.0, width=11.0, height=11.0, rx=2.0, fill=fill, stroke=stroke)
        canvas.write(x + 17, 47, label, fill=SOFT, anchor="start")
        x += 17 + len(label) * CHARACTER + 16


def _strip(canvas: Canvas, row: Any) -> tuple[float, float, float, float]:  # noqa: ANN401 - as above
    """Return x, y, width and height of the strip of a cell."""
    return canvas.strip(depth=row.depth, slot=row.slot, start_s=row.start_s, stop_s=row.stop_s)


def _rows(frame: pd.DataFrame) -> list[Any]:
    """Return the rows as named tuples; the type of a column is known only when it is read."""
    return list(frame.itertuples())


def _round_numbers() -> Iterator[float]:
    """Yield 1, 2, 5, 10, ... from a microsecond on, in seconds."""
    for power in range(-6, 6):
        for digit in (1, 2, 5):
            yield digit * 10.0**power
