"""Timelines as Chrome traces that Perfetto can open."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from adadecode.sim.replay.simulation import ReplayedRun
from adadecode.sim.visualization.chrome_trace import chrome_trace

SEGMENTS = (0, 1, 2, 3)
BOUNDARIES = (0, 2, 4, 6, 8)


def records(
    run: ReplayedRun, phase: str, boundaries: tuple[int, ...] = SEGMENTS
) -> list[dict[str, Any]]:
    """Return the records of one phase."""
    trace = json.loads(json.dumps(chrome_trace({"run": run}, boundaries), allow_nan=False))
    return [record for record in trace["traceEvents"] if record["ph"] in phase]


def test_every_record_is_of_a_known_form(busy: ReplayedRun) -> None:
    """Slices have a duration, flows an id, counters a value and metadata a name."""
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
    """t2 (output 1) starts in layer 1, waits, runs layers 2 and 3 in batches, and is verified."""
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
    trace = chrome_trace({"simulated": figure_2, "measured": figure_2}, SEGMENTS)["traceEvents"]
    assert [r["args"]["name"] for r in trace if r["name"] == "process_name"] == [
        "simulated",
        "measured",
    ]
    ids = [{r["id"] for r in trace if r["ph"] == "s" and r["pid"] == pid} for pid in (1, 2)]
    assert not ids[0] & ids[1]
