"""The committed decisions at the paper's rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import read_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.replay.simulation import replay
from scripts.gpu_run.paper_trace import DOMAINS, write_decisions
from scripts.gpu_run.state import PAPER_RATES
from tests.support.handmade import ConstantLatency


def test_the_committed_decisions_are_made_again_and_have_the_papers_rates(tmp_path: Path) -> None:
    """From the fits that the benchmark keeps; both texts are near the rates at gamma 0.6."""
    write_decisions(tmp_path / "made")
    made, committed = read_profile(tmp_path / "made"), read_profile(PAPER_RATES)
    assert made.manifest["digest"] == committed.manifest["digest"]
    trace = Trace.from_profile(committed)
    design = Design.of(gamma=0.6, placement=(8, 16, 24))
    for domain in DOMAINS:
        prompts = [prompt for prompt in trace.prompts if trace.domain(prompt) == domain]
        replays = replay(trace, ConstantLatency(), design, prompts)
        rounds = [one for replayed in replays for one in replayed.rounds]
        drafts = sum(len(one.exits) for one in rounds)
        tested = sum(one.checks.count(8) for one in rounds)
        assert drafts / tested == pytest.approx(0.93, abs=0.04)
        rejected = 1 - sum(one.accepted for one in rounds) / drafts
        assert rejected == pytest.approx(0.24, abs=0.05)
