"""Gates in the pictures of a schedule."""

from __future__ import annotations

import json

import pytest

from adadecode.sim.core.design import Design
from adadecode.sim.replay.simulation import ReplayedRun, replay
from adadecode.sim.visualization.chrome_trace import chrome_trace
from adadecode.sim.visualization.schedule_cells import OPEN, cells
from adadecode.sim.visualization.schedule_svg import draw_schedule
from tests.support.handmade import ConstantLatency, one_text

TEXT = [10, 11, 12, 13]
BOUNDARIES = (0, 1, 3)


def run_with(gate: float) -> ReplayedRun:
    """One head whose gate is open before output 1 alone."""
    trace = one_text(TEXT, {(1, 1): (0.9, 11)}, gates={(1, 1): 0.8, (2, 1): 0.1})
    design = Design.of(gamma=0.5, placement=(1,), gate=gate)
    (run,) = replay(trace, ConstantLatency(), design, events=True)
    return run


@pytest.fixture(scope="module")
def gated() -> ReplayedRun:
    return run_with(0.5)


def test_a_gate_is_a_cell_with_its_score(gated: ReplayedRun) -> None:
    drawn = cells(gated, BOUNDARIES)
    asked = drawn[drawn["kind"] == "gate"]
    assert asked["confidence"].tolist()[:2] == [0.8, 0.1]
    assert asked["next_label"].tolist()[:2] == [OPEN, ""]
    assert set(asked["depth"]) == {1}


def test_the_picture_shows_gates_and_says_what_they_are(gated: ReplayedRun) -> None:
    svg = draw_schedule(cells(gated, BOUNDARIES), BOUNDARIES)
    assert "gate 1: score 0.80, the head is asked" in svg
    assert "gate 1: score 0.10, the head is not asked" in svg
    assert "gate lets the head be asked" in svg
    plain = draw_schedule(cells(run_with(0.0), BOUNDARIES), BOUNDARIES)
    assert "gate" not in plain


def test_a_chrome_trace_has_gates_beside_the_heads(gated: ReplayedRun) -> None:
    """On their thread, one after the other, with the score."""
    records = chrome_trace({"run": gated}, BOUNDARIES)["traceEvents"]
    gates = [one for one in records if one["name"] == "gate 1"]
    heads = [one for one in records if one["name"] == "head 1"]
    assert [one["args"]["score"] for one in gates][:2] == [0.8, 0.1]
    assert {one["tid"] for one in gates} == {one["tid"] for one in heads}
    first, check = gates[0], heads[0]
    assert first["ts"] + first["dur"] == pytest.approx(check["ts"])
    json.dumps(records)
