"""Timelines: Chrome traces that Perfetto can open, and the picture of a schedule."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest

from adadecode.profiles import LatencyTable
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.replay.simulation import ReplayedRun, replay
from adadecode.sim.visualization.chrome_trace import chrome_trace
from adadecode.sim.visualization.schedule_figure import cells, schedule_figure
from adadecode.sim.visualization.schedule_svg import draw_schedule
from tests.support.handmade import Constant, one_text
from tests.support.synthetic_profile import synthetic_profile

FIGURE_2 = {(1, 2): (0.9, 11), (2, 1): (0.9, 12)}
TWO_HEADS = Design.of("adadecode", gamma=0.5, placement=(1, 2))
SEGMENTS = (0, 1, 2, 3)
BOUNDARIES = (0, 2, 4, 6, 8)


@pytest.fixture(scope="module")
def figure_2() -> ReplayedRun:
    """The paper's worked example."""
    return replay(
        one_text([10, 11, 12, 13], FIGURE_2, eos=frozenset({13})),
        Constant(),
        TWO_HEADS,
        events=True,
    )[0]


@pytest.fixture(scope="module")
def rejected() -> ReplayedRun:
    """One wrong draft, then two tokens without drafts."""
    design = Design.of("adadecode", gamma=0.5, placement=(1, 2))
    return replay(
        one_text(
            [10, 11, 12, 13], {(1, 1): (0.9, 7)}, {(1, (7,), depth): (0.1, 8) for depth in (1, 2)}
        ),
        Constant(),
        design,
        events=True,
    )[0]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> ReplayedRun:
    """A long run with drafts of every fate, in odd fractions of a second."""
    profile = synthetic_profile(tmp_path_factory.mktemp("timeline") / "profile", outputs=60)
    design = Design.of("adadecode", gamma=0.6, placement=(2, 4, 6))
    return replay(
        Trace.from_profile(profile),
        LatencyTable.from_samples(profile.latency, 8),
        design,
        [1],
        events=True,
    )[0]


def records(
    run: ReplayedRun, phase: str, boundaries: tuple[int, ...] = SEGMENTS
) -> list[dict[str, Any]]:
    """The records of one phase."""
    told = json.loads(json.dumps(chrome_trace({"run": run}, boundaries), allow_nan=False))
    return [record for record in told["traceEvents"] if record["ph"] in phase]


def test_every_record_is_of_a_known_form(busy: ReplayedRun) -> None:
    """Slices have a duration, flows an id, counters a value, metadata a name; all but metadata have a time, and each its process."""
    wanted = {
        "X": {"ts", "dur", "tid"},
        "C": {"ts", "args"},
        "M": {"args"},
        "s": {"ts", "tid", "id"},
        "t": {"ts", "tid", "id"},
        "f": {"ts", "tid", "id", "bp"},
    }
    found = records(busy, "XCMstf", BOUNDARIES)
    assert {record["ph"] for record in found} == set(wanted)
    assert all(wanted[record["ph"]] | {"name", "pid"} <= set(record) for record in found)


def test_a_slice_is_a_piece_of_work_in_microseconds(figure_2: ReplayedRun) -> None:
    """Figure 2 has 12; the first pass takes 1.1875 s from 0, the check after it 0.3125 s."""
    first, check, *others = records(figure_2, "X")
    assert (first["ts"], first["dur"], first["tid"]) == (0, 1187500, 1)
    assert (check["ts"], check["dur"], check["name"]) == (1187500, 312500, "head 1")
    assert len(others) == 10


def test_threads_are_segments_then_heads_then_verify(figure_2: ReplayedRun) -> None:
    """Named by the layers they run, counted from 1 as depths are."""
    names = {
        r["tid"]: r["args"]["name"] for r in records(figure_2, "M") if r["name"] == "thread_name"
    }
    assert names == {1: "layers 1-1", 2: "layers 2-2", 3: "layers 3-3", 4: "heads", 5: "verify"}
    assert [s["tid"] for s in records(figure_2, "X")] == [1, 4, 2, 4, 1, 4, 1, 4, 2, 4, 3, 5]


def test_slices_of_one_thread_never_overlap(busy: ReplayedRun) -> None:
    """To the nanosecond, which is what Perfetto keeps."""
    slices = records(busy, "X", BOUNDARIES)
    for tid in {s["tid"] for s in slices}:
        spans = [
            (round(s["ts"] * 1e3), round((s["ts"] + s["dur"]) * 1e3))
            for s in slices
            if s["tid"] == tid
        ]
        assert all(before[1] <= after[0] for before, after in pairwise(sorted(spans)))
        assert all(start < stop for start, stop in spans)


def test_a_flow_follows_a_token_through_the_stack(figure_2: ReplayedRun) -> None:
    """t2 (output 1) starts in layer 1, waits, runs layers 2 and 3 in batches, and ends in the verify."""
    flow = [(r["ph"], r["tid"]) for r in records(figure_2, "stf") if r["name"] == "output 1"]
    assert flow == [("s", 1), ("t", 2), ("t", 3), ("f", 5)]


def test_flow_points_lie_inside_slices_of_their_thread(busy: ReplayedRun) -> None:
    """Else the arrows would hang in the air."""
    spans = [(s["tid"], s["ts"], s["ts"] + s["dur"]) for s in records(busy, "X", BOUNDARIES)]
    for point in records(busy, "stf", BOUNDARIES):
        assert any(
            tid == point["tid"] and start <= point["ts"] <= stop for tid, start, stop in spans
        )


def test_a_recomputed_position_is_another_flow(rejected: ReplayedRun) -> None:
    """The rejected draft and the token that took its place both are output 1."""
    flows: dict[int, list[float]] = {}
    for record in records(rejected, "stf"):
        if record["name"] == "output 1":
            flows.setdefault(record["id"], []).append(record["ts"])
    first, second = flows.values()
    assert max(first) < min(second)


def test_the_counter_is_the_drafts_that_wait(figure_2: ReplayedRun) -> None:
    """None, then one, then two, then none: t2 and t3 start on drafts, the verify clears them."""
    assert [c["args"]["drafts"] for c in records(figure_2, "C")] == [0, 1, 2, 0]


def test_two_runs_are_two_processes(figure_2: ReplayedRun) -> None:
    """Each under its name, with flows of their own."""
    told = chrome_trace({"simulated": figure_2, "measured": figure_2}, SEGMENTS)["traceEvents"]
    assert [r["args"]["name"] for r in told if r["name"] == "process_name"] == [
        "simulated",
        "measured",
    ]
    ids = [{r["id"] for r in told if r["ph"] == "s" and r["pid"] == pid} for pid in (1, 2)]
    assert not ids[0] & ids[1]


def test_cells_are_the_tokens_of_each_piece_of_work(figure_2: ReplayedRun) -> None:
    """Figure 2: the passes through layer 3 and the verify hold t1, t2, t3."""
    drawn = cells(figure_2, SEGMENTS)
    passes = drawn[drawn["kind"] == "run"].groupby(["start_s", "depth"])["label"].agg(list)
    assert list(passes) == [["0"], ["0"], ["1"], ["2"], ["1", "2"], ["0", "1", "2"]]


def test_cells_tell_the_fate_of_a_token(rejected: ReplayedRun) -> None:
    """The draft was rejected; what stands there afterwards is the last layer's."""
    drawn = cells(rejected, SEGMENTS).drop_duplicates(["round", "output"])
    assert list(zip(drawn["round"], drawn["output"], drawn["fate"], strict=True)) == [
        (0, 0, "last layer"),
        (0, 1, "rejected draft"),
        (1, 1, "last layer"),
        (2, 2, "last layer"),
    ]


def test_cells_tell_drafts_that_held(figure_2: ReplayedRun) -> None:
    """Both of figure 2's."""
    fates = cells(figure_2, SEGMENTS).drop_duplicates("output")["fate"]
    assert list(fates) == ["last layer", "accepted draft", "accepted draft"]


def test_cells_say_what_a_sure_head_drafted(figure_2: ReplayedRun) -> None:
    """t1's check at depth 2 and t2's at depth 1 draft, the others do not."""
    checks = cells(figure_2, SEGMENTS).query("kind == 'check'")
    assert list(zip(checks["depth"], checks["says"], strict=True)) == [
        (1, ""),
        (2, "1"),
        (1, "2"),
        (1, ""),
        (2, ""),
    ]


def test_cells_stop_after_the_rounds_asked_for(busy: ReplayedRun) -> None:
    """Two rounds of many."""
    assert set(cells(busy, BOUNDARIES, rounds=2)["round"]) == {0, 1}


def test_words_label_tokens(figure_2: ReplayedRun) -> None:
    """By token id; blanks and line breaks can be seen."""
    drawn = cells(figure_2, SEGMENTS, words={10: " the", 11: "\n", 12: " "})
    assert list(drawn[drawn["kind"] == "verify"]["label"]) == ["the", "⏎", "␣"]


def test_the_picture_has_a_strip_for_each_token_of_each_pass(busy: ReplayedRun) -> None:
    """Well-formed XML, a hover text for each strip, and nothing outside the page."""
    drawn = cells(busy, BOUNDARIES)
    root = ET.fromstring(draw_schedule(drawn, BOUNDARIES, title="a < b"))
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
    root = ET.fromstring(draw_schedule(cells(busy, BOUNDARIES), BOUNDARIES))
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
    texts = [t.text for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "&" in texts


def test_nothing_to_draw_is_an_error() -> None:
    """A text of one token has no schedule."""
    run = replay(one_text([10]), Constant(), TWO_HEADS, events=True)[0]
    with pytest.raises(ProfileError, match="nothing to draw"):
        draw_schedule(cells(run, SEGMENTS), SEGMENTS)


def test_the_figure_has_a_bar_for_each_token_of_each_pass(busy: ReplayedRun) -> None:
    """The plotly picture, a trace for each fate."""
    pytest.importorskip("plotly")
    drawn = cells(busy, BOUNDARIES)
    figure = schedule_figure(drawn, BOUNDARIES)
    assert sum(len(trace.x) for trace in figure.data) == (drawn["kind"] == "run").sum()
