"""Schedules that the tests of timelines draw."""

from __future__ import annotations

import pytest

from adadecode.profiles import LatencyTable
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.replay.simulation import ReplayedRun, replay
from tests.support.handmade import ConstantLatency, one_text
from tests.support.synthetic_profile import synthetic_profile

FIGURE_2 = {(1, 2): (0.9, 11), (2, 1): (0.9, 12)}
TWO_HEADS = Design.of("adadecode", gamma=0.5, placement=(1, 2))


@pytest.fixture(scope="module")
def figure_2() -> ReplayedRun:
    """Return the paper's worked example."""
    return replay(
        one_text([10, 11, 12, 13], FIGURE_2, eos=frozenset({13})),
        ConstantLatency(),
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
        ConstantLatency(),
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
