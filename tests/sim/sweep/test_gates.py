"""Gates as an axis of a sweep: planned, searched, refined, kept and read back."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from adadecode.profiles import Profile
from adadecode.profiles.errors import DesignError, ProfileError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.sweep.design_sweep import sweep
from adadecode.sim.sweep.planned_designs import PlannedDesigns
from adadecode.sim.sweep.space import Space
from adadecode.sim.sweep.store import ABOUT, TABLE, read_sweep
from tests.support.gated import gated_profile
from tests.support.handmade import recorded_profile
from tests.support.sim_command import run

GAMMAS, GATES = (0.2, 0.5), (0.0, 0.3, 0.5)
SPACE = Space(gammas=GAMMAS, gates=GATES, max_heads=2)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return gated_profile(tmp_path_factory.mktemp("sweep") / "p")


SPACES = [
    Space(n_layers=8, depths=depths, policies=policies, gammas=(0.5, 0.9), gates=gates, max_heads=2)
    for depths, policies, gates in product(
        [(4,), (1, 4, 6)],
        [tuple(Policy), (Policy.ADADECODE,)],
        [(0.0,), (0.3,), (0.0, 0.3, 0.3, 0.6)],
    )
]

OTHERS = [
    Design.of(policy, placement=placement, gamma=0.5, gate=gate)
    for policy in Policy
    for placement in ((4,), (1, 4), (1, 6))
    for gate in (0.0, 0.3, 0.4, 0.6, *([(0.3, 0.6), (0.0, 0.3)] if len(placement) > 1 else []))
    if policy is not Policy.FIXED or len(placement) == 1
]


@pytest.mark.parametrize("space", SPACES, ids=map(str, range(len(SPACES))))
def test_a_space_holds_the_designs_that_it_makes_and_no_others(space: Space) -> None:
    """Gates are alike for all heads, and of the space; other policies ask none."""
    made = set(space.designs())
    planned = PlannedDesigns(space, len(made), searched=False)
    assert planned.size == len(made)
    assert all(map(planned.holds, made))
    assert [design for design in OTHERS if planned.holds(design) != (design in made)] == []


def test_refinement_and_search_take_each_gate_from_the_space() -> None:
    space = SPACES[-1]
    planned = PlannedDesigns(space, 10_000, searched=True)
    mixed, other = (Design.of(placement=(1, 4), gamma=0.5, gate=(0.3, x)) for x in (0.6, 0.4))
    for may_be in (planned.may_be_refined, planned.may_be_searched):
        assert [may_be(design) for design in (mixed, other)] == [True, False]


def test_a_space_without_gates_is_told_as_ever() -> None:
    plain = Space(n_layers=8, depths=(4,), gammas=(0.5,))
    assert "gates" not in plain.to_dict()
    assert Space(n_layers=8, depths=(4,), gates=(0.0, 0.2)).to_dict()["gates"] == (0.0, 0.2)
    with pytest.raises(DesignError, match="gate threshold"):
        Space(n_layers=8, depths=(4,), gates=(1.2,))
    with pytest.raises(DesignError, match="one or more gates"):
        Space(n_layers=8, depths=(4,), gates=())


def test_a_sweep_of_gates_is_read_back(profile: Profile, tmp_path: Path) -> None:
    """Its table holds the thresholds; the best may have one for each head."""
    done = sweep(profile, SPACE, out=tmp_path / "s", threads=1)
    assert "gates" in pq.read_schema(tmp_path / "s" / TABLE).names
    assert done.about["space"]["gates"] == list(GATES)
    assert {one for gates in done.designs["gates"] for one in gates} <= set(GATES)
    again = read_sweep(tmp_path / "s")
    assert again.designs["gates"].tolist() == done.designs["gates"].tolist()
    best = done.best()
    if best.get("gates"):
        parts = best["details"]["seconds_per_token"]
        assert parts["gates"] > 0
        assert best["details"]["gates_asked"] > 0


def test_a_sweep_without_gates_is_written_as_ever(profile: Profile, tmp_path: Path) -> None:
    """No key and no column tells of gates, so that older programs and sweeps go together."""
    done = sweep(profile, Space(gammas=GAMMAS, max_heads=1), out=tmp_path / "s", threads=1)
    assert "gates" not in pq.read_schema(tmp_path / "s" / TABLE).names
    assert '"gates' not in (tmp_path / "s" / ABOUT).read_text()
    assert set(done.designs["gates"]) == {()}


def test_a_search_takes_gates_of_the_space(profile: Profile, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    done = sweep(profile, SPACE, out=tmp_path / "s", method="optuna", trials=20, threads=1)
    asked = {one for gates in done.designs["gates"] for one in gates}
    assert asked <= set(GATES)
    assert asked - {0.0}
    assert read_sweep(tmp_path / "s").about["method"] == "optuna"


def test_gates_that_are_not_there_are_refused_before_anything_runs(tmp_path: Path) -> None:
    plain = recorded_profile(tmp_path / "p")
    with pytest.raises(DesignError, match="no gates in this recording"):
        sweep(plain, SPACE, out=tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert run("sweep", plain.path, "--gates", "0,0.3", "--out", tmp_path / "s") == 2


def test_a_gate_that_is_no_probability_is_refused(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in ("0.3,1.5", "", "x"):
        assert run("sweep", profile.path, "--gates", typed, "--out", tmp_path / "s") == 2
        assert "gate" in capsys.readouterr().err


def test_an_edited_gate_is_found(profile: Profile, tmp_path: Path) -> None:
    """Another threshold in the description is no longer of its plan."""
    sweep(profile, SPACE, out=tmp_path / "s", threads=1)
    about = json.loads((tmp_path / "s" / ABOUT).read_text())
    about["space"]["gates"] = [0.0, 0.4, 0.5]
    (tmp_path / "s" / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ProfileError):
        read_sweep(tmp_path / "s")


def test_the_command_sweeps_gates(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--gammas", "0.2", "--gates", "0.3,0", "--max-heads", "1", "--threads", "1")
    assert run("sweep", profile.path, *arguments, "--out", tmp_path / "s", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert about["space"]["gates"] == [0.3, 0.0]
    assert run("report", tmp_path / "s", "--out", tmp_path / "s.html") == 0
