"""``adadecode-sim report``: files written, and exit code 2 for what cannot be used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import Profile
from adadecode.sim.sweep.plan import digest_of
from adadecode.sim.sweep.store import Sweep
from tests.support.handmade import recorded_profile
from tests.support.sim_command import run
from tests.support.sweeps import small_sweep
from tests.support.synthetic_profile import synthetic_profile
from tests.support.tampering import edit_sweep

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
pytest.importorskip("jinja2", reason="a report needs jinja2: install the extra 'report'")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("report") / "profile", slower={"vanilla": 1.4})


@pytest.fixture(scope="module")
def sweep(profile: Profile) -> Sweep:
    return small_sweep(profile.path.parent / "sweep", profile)


def test_a_report_is_written_as_page_markdown_and_csv(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    assert (
        run(
            "report",
            sweep.path,
            "--out",
            out,
            "--markdown",
            tmp_path / "r.md",
            "--csv",
            tmp_path / "tables",
        )
        == 0
    )
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "r.md").read_text().startswith("# On ")
    assert (tmp_path / "tables" / "designs.csv").read_text().startswith("design,policy,placement")
    assert str(out) in capsys.readouterr().out


def test_a_profile_can_be_reported_on(profile: Profile, tmp_path: Path) -> None:
    assert run("report", profile.path, "--out", tmp_path / "r.html") == 0


def test_a_sweep_without_its_profile_says_what_is_missing(sweep: Sweep, tmp_path: Path) -> None:
    copy = shutil.copytree(sweep.path, tmp_path / "sweep")
    _move_profile(copy, str(tmp_path / "gone"))
    assert run("report", copy, "--out", tmp_path / "r.html") == 0
    page = (tmp_path / "r.html").read_text()
    assert "is not where it was" in page
    assert 'id="truth"' not in page


def test_a_sweep_of_vanilla_alone_has_no_figure_of_heads(profile: Profile, tmp_path: Path) -> None:
    assert run("sweep", profile.path, "--policies", "vanilla", "--out", tmp_path / "sweep") == 0
    assert run("report", tmp_path / "sweep", "--out", tmp_path / "r.html") == 0
    assert "no design of this sweep is faster than vanilla" in (tmp_path / "r.html").read_text()


def test_a_profile_that_moved_can_be_named(sweep: Sweep, profile: Profile, tmp_path: Path) -> None:
    copy = shutil.copytree(sweep.path, tmp_path / "sweep")
    _move_profile(copy, str(tmp_path / "gone"))
    assert run("report", copy, "--profile", profile.path, "--out", tmp_path / "r.html") == 0
    assert 'id="truth"' in (tmp_path / "r.html").read_text()


def test_another_profile_is_refused(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = synthetic_profile(tmp_path / "other", seed=5)
    assert run("report", sweep.path, "--profile", other.path, "--out", tmp_path / "r.html") == 2
    assert "is not the profile that was swept" in capsys.readouterr().err


def test_a_hypothetical_sweep_says_so(profile: Profile, tmp_path: Path) -> None:
    small_sweep(tmp_path / "sweep", profile, others={}, about={"hypothetical": True})
    assert run("report", tmp_path / "sweep", "--out", tmp_path / "r.html") == 0
    page = (tmp_path / "r.html").read_text()
    assert "<h1>Hypothetical, with heads of another model: on none, " in page
    assert "not on the devices above" in page
    assert "speedup error (T2)" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "does not exist"),
        (["."], "neither manifest.json nor sweep.json: an unfinished recording"),
        (["HEADS"], "HEADS is a folder of exit heads: record with"),
        (["PROFILE", "--profile", "PROFILE"], "is a profile itself"),
    ],
)
def test_what_cannot_be_reported_on_is_refused(
    profile: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """Nothing, a directory of something else, heads, a profile of a profile."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "HEADS").mkdir()
    (tmp_path / "HEADS" / "heads.json").write_text("{}")
    places = {
        "PROFILE": profile.path,
        "nowhere": tmp_path / "nowhere",
        ".": tmp_path / "empty",
        "HEADS": tmp_path / "HEADS",
    }
    assert (
        run("report", *(places.get(word, word) for word in arguments), "--out", tmp_path / "r.html")
        == 2
    )
    assert message in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_refused(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("report", profile.path, "--out", tmp_path / "nowhere" / "r.html") == 2
    assert "cannot write" in capsys.readouterr().err


def _move_profile(sweep: Path, place: str) -> None:
    """Let a sweep say that its profile was at a place."""

    def change(about: dict[str, Any]) -> None:
        about["trace"]["path"] = place
        about["plan"] = digest_of(about)

    edit_sweep(sweep, change)


@pytest.mark.parametrize("name", ["manifest.json", "sweep.json"])
def test_a_pipe_in_the_place_of_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """And not taken for a file that is missing."""
    pytest.importorskip("plotly")
    os.mkfifo(tmp_path / name)
    assert run("report", tmp_path, "--out", tmp_path / "r.html") == 2
    error = capsys.readouterr().err
    assert "wanted a regular file, got the pipe" in error
    assert name in error
