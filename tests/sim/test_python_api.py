"""The Python API of ``adadecode.sim``: on objects, the same as the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import adadecode.sim
from adadecode.profiles.digest import SEAL
from adadecode.profiles.errors import DesignError, InputError
from adadecode.profiles.store import Profile
from adadecode.sim import Design, Space, predict, report, sweep, validate
from tests.support.paths import ROOT
from tests.support.recordings import on_a100
from tests.support.sim_command import run

SPACE = Space(gammas=(0.5, 0.8), max_heads=2)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("api") / "p", runs=True)


@pytest.mark.parametrize("name", adadecode.sim.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert callable(getattr(adadecode.sim, name))


def test_importing_sim_loads_nothing_that_takes_time() -> None:
    code = (
        "import adadecode.sim, sys;"
        "print(sorted({'numba', 'pandas', 'torch', 'scipy', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prediction_of'"):
        adadecode.sim.prediction_of  # noqa: B018


def test_a_sweep_is_the_commands_sweep(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything but the time it was made at, and the seal over it; also where nothing is kept."""
    timed = {"created": 0, SEAL: 0}
    code = run(
        *("sweep", profile.path, "--gammas", "0.5,0.8", "--max-heads", "2"),
        *("--devices", "recorded,h100-sxm", "--objective", "tpot,flops"),
        *("--out", tmp_path / "command", "--json"),
    )
    assert code == 0
    command = json.loads(capsys.readouterr().out)
    devices, objectives = ("recorded", "h100-sxm"), ("tpot", "flops")
    kept = sweep(profile, SPACE, devices=devices, objectives=objectives, out=tmp_path / "ours")
    in_memory = sweep(profile, SPACE, devices=devices, objectives=objectives)
    for ours in (kept, in_memory):
        about = json.loads(json.dumps(ours.about))
        assert {**about, **timed} == {**command, **timed}
    assert kept.path == tmp_path / "ours"
    assert in_memory.path is None
    assert in_memory.to_frame().equals(kept.designs)


def test_the_front_and_the_best_hold_every_objective(profile: Profile) -> None:
    swept = sweep(profile, SPACE, devices=("h100-sxm",), objectives=("tpot", "flops"))
    front, best = swept.front(), swept.best()
    assert front["pareto"].all()
    assert front["tpot_s"].is_monotonic_increasing
    assert front["flops_per_token"].notna().all()
    assert best["design"] == front["design"].iloc[0]
    assert swept.objective_figures() == {
        "tpot": best["tpot_s"],
        "flops": best["flops_per_token"],
    }
    assert swept.front("h100-sxm").equals(front)
    with pytest.raises(InputError, match="no device 'l4' in the sweep: it holds h100-sxm"):
        swept.front("l4")


def test_a_space_is_bound_to_the_heads_of_the_text(profile: Profile) -> None:
    swept = sweep(profile, Space(depths=(2, 6), gammas=(0.5,)))
    assert {depth for heads in swept.designs["placement"] for depth in heads} == {2, 6}
    with pytest.raises(DesignError, match="the space is of a model with 9 layers"):
        sweep(profile, Space(n_layers=9, depths=(2,), gammas=(0.5,)))
    with pytest.raises(DesignError, match="5"):
        sweep(profile, Space(depths=(5,), gammas=(0.5,)))


def test_predicted_and_measured_meet_in_a_frame(profile: Profile) -> None:
    cells = validate(profile).to_frame()
    (design,) = [label for label in cells["design"].unique() if label != "vanilla"]
    predicted = predict(profile, Design.of(gamma=0.75, placement=(2, 4, 6))).to_frame()
    assert predicted["design"].tolist() == [design]
    merged = cells.merge(predicted, on="design", suffixes=("_cell", ""))
    assert len(merged) == 3


def test_a_report_is_written(profile: Profile, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    page = report(sweep(profile, SPACE), tmp_path / "sweep.html")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
