"""Scores of gates in a shared copy: kept, so that a copy gives the figures of the original."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adadecode.profiles import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.sharing.share import share
from adadecode.sim.validation.tiers import validate
from tests.support.gated import GATED
from tests.support.recordings import on_a100

SHORT = replace(GATED, cap=2)
"""All that it does after wrong drafts is recorded, so that nothing is drawn by its tokens."""


def test_a_copy_of_a_recording_with_gates_gives_its_figures(tmp_path: Path) -> None:
    designs = (Design.of("vanilla"), SHORT)
    profile = on_a100(tmp_path / "p", runs=True, designs=designs, gates=True)
    copy = share(profile, tmp_path / "copy")
    assert copy.manifest["heads"]["gates"] is True
    assert Trace.from_profile(copy).has_gates
    ours, theirs = (Predictor.of(one).predict(SHORT).to_dict() for one in (profile, copy))
    assert ours == theirs
    assert ours["gates_asked"] > 0
    assert validate(copy).to_dict()["structure"] == {"runs": 6, "exact": 6, "explained": 0}
