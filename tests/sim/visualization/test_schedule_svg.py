"""The pictures of a schedule: a standalone SVG, and a plotly figure."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.design import Design
from adadecode.sim.replay.simulation import ReplayedRun, replay
from adadecode.sim.visualization.schedule_cells import cells
from adadecode.sim.visualization.schedule_figure import schedule_figure
from adadecode.sim.visualization.schedule_svg import draw_schedule
from tests.support.handmade import ConstantLatency, one_text

SEGMENTS = (0, 1, 2, 3)
BOUNDARIES = (0, 2, 4, 6, 8)


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - it was drawn here


def test_the_picture_has_a_strip_for_each_token_of_each_pass(busy: ReplayedRun) -> None:
    """Well-formed XML, a hover text for each strip, and nothing outside the page."""
    drawn = cells(busy, BOUNDARIES)
    root = parse(draw_schedule(drawn, BOUNDARIES, title="a < b"))
    space = "{http://www.w3.org/2000/svg}"
    strips = [rect for rect in root.iter(f"{space}rect") if rect.find(f"{space}title") is not None]
    assert len(strips) == (drawn["kind"] == "run").sum()
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for rect in root.iter(f"{space}rect"):
        if "x" in rect.attrib:
            x, y, w, h = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 0
            assert w > 0
            assert x + w <= width
            assert y + h <= height


def test_strips_of_the_picture_do_not_overlap(busy: ReplayedRun) -> None:
    """Each token of each pass has a place of its own."""
    root = parse(draw_schedule(cells(busy, BOUNDARIES), BOUNDARIES))
    space = "{http://www.w3.org/2000/svg}"
    rects = [r for r in root.iter(f"{space}rect") if r.find(f"{space}title") is not None]
    boxes = [tuple(float(r.attrib[name]) for name in ("x", "y", "width", "height")) for r in rects]
    for i, (x, y, w, h) in enumerate(boxes):
        for other_x, other_y, other_w, other_h in boxes[:i]:
            assert (
                x >= other_x + other_w
                or other_x >= x + w
                or y >= other_y + other_h
                or other_y >= y + h
            )


def test_markup_in_a_token_is_text(figure_2: ReplayedRun) -> None:
    """A token may well be ``</svg>``."""
    svg = draw_schedule(
        cells(figure_2, SEGMENTS, words={10: "<b>", 11: "&", 12: "</svg>"}), SEGMENTS
    )
    texts = [t.text for t in parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "&" in texts


def test_nothing_to_draw_is_an_error() -> None:
    """A text of one token has no schedule."""
    run = replay(
        one_text([10]),
        ConstantLatency(),
        Design.of("adadecode", gamma=0.5, placement=(1, 2)),
        events=True,
    )[0]
    with pytest.raises(ProfileError, match="nothing to draw"):
        draw_schedule(cells(run, SEGMENTS), SEGMENTS)


def test_the_figure_has_a_bar_for_each_token_of_each_pass(busy: ReplayedRun) -> None:
    """The plotly picture, a trace for each fate."""
    pytest.importorskip("plotly")
    drawn = cells(busy, BOUNDARIES)
    figure = schedule_figure(drawn, BOUNDARIES)
    assert sum(len(trace.x) for trace in figure.data) == (drawn["kind"] == "run").sum()
