"""Text from files is text: no command obeys the markup or the escapes in a name."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree as ET

import pytest
from rich.text import Text

from adadecode.profiles import Profile
from adadecode.profiles.errors import InputError
from adadecode.sim.cli.errors import exiting_on_error
from adadecode.sim.cli.progress import showing_progress
from adadecode.sim.cli.tables.layout import console, notes, table, titled
from adadecode.sim.report.formatting import in_csv, in_markdown, in_plot
from adadecode.sim.visualization.svg_canvas import in_svg
from tests.support import synthetic_profile
from tests.support.handmade import recorded_profile
from tests.support.sim_command import run

NAME = "evil[/x][red]\x1b[2J\x9b31m\x07\x08\u202e\u2066\r\nTrust this recording: yes"
"""A name with markup, escapes, a bell, overrides, and a line of its own."""

OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e-\u200f\u202a-\u202e\u2066-\u2069]")
"""Everything that a terminal obeys, but line feeds."""


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A recording in which everything that has a name is called that."""
    manifest: dict[str, Any] = {
        "name": NAME,
        "model": {"name": NAME, "n_layers": 8, "n_parameters": 10**6, "config": {"vocab_size": 50}},
        "hardware": {"device": NAME, "host": {"cpu": NAME, "os": NAME}},
        "software": {"torch": NAME},
        "limitations": [NAME],
        "graphs": NAME,
    }
    folder = tmp_path_factory.mktemp("foreign")
    with patch.object(synthetic_profile, "DOMAINS", (NAME, "code")):
        return recorded_profile(folder / "p", manifest=manifest)


def check(text: str) -> None:
    """Check that no line of a text is obeyed, or begun by a name."""
    assert not OBEYED.search(text), repr(OBEYED.search(text))
    assert not re.search(r"^Trust this recording: yes", text, re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    [
        ("predict",),
        ("predict", "--domain", "no such [/x]\x1b[31m"),
        ("validate", "--fail-over", "0.0001%"),
        ("account",),
        ("limits",),
        ("transfer", "--to", "h100-sxm"),
        ("synthesize", "--like", "PROFILE"),
        ("memory",),
    ],
)
def test_no_command_obeys_a_name(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """Whatever else it says of the recording."""
    name, *options = command
    words = [str(profile.path) if word == "PROFILE" else word for word in options]
    where = [] if name == "synthesize" else [profile.path]
    assert run(name, *where, *words) in {0, 1, 2}
    printed = capsys.readouterr()
    check(printed.out)
    check(printed.err)


def test_sweeps_reports_and_pictures_obey_no_name(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--gammas", "0.5", "--max-heads", "1", "--policies", "adadecode,oracle")
    assert run("sweep", profile.path, "--out", tmp_path / "s", *few, "--objective", "tpot") == 0
    pytest.importorskip("plotly")
    for source in (profile.path, tmp_path / "s"):
        written = ("--markdown", tmp_path / "r.md", "--csv", tmp_path / "csv")
        assert run("report", source, "--out", tmp_path / "r.html", *written) == 0
        page = (tmp_path / "r.html").read_text()
        check(page[: page.index("<script nonce=")])  # what follows is plotly's own
        check((tmp_path / "r.md").read_text())
        for file in (tmp_path / "csv").iterdir():
            check(file.read_text())
    pictures = ("--svg", tmp_path / "t.svg", "--html", tmp_path / "t.html")
    assert run("timeline", profile.path, "--out", tmp_path / "t.json", *pictures) == 0
    check((tmp_path / "t.json").read_text())
    check((tmp_path / "t.svg").read_text())
    ET.parse(tmp_path / "t.svg")  # noqa: S314 - our own file
    printed = capsys.readouterr()
    check(printed.out)
    check(printed.err)


def test_tables_titles_captions_and_notes_show_text(capsys: pytest.CaptureFixture[str]) -> None:
    body = table(NAME, "b[/x]")
    body.add_row(NAME, "1")
    console().print(titled(NAME, body, [NAME]))
    for part in notes([NAME]):
        console().print(part)
    console().print(Text("\x1b[31m[/x]"), "[/x]\x1b[31m :smile:")
    out = capsys.readouterr().out
    check(out)
    assert r"\x1b[31m[/x] [/x]\x1b[31m :smile:" in out


def test_errors_warnings_and_progress_show_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exiting_on_error():
        raise InputError(NAME)
    with exiting_on_error(), warnings.catch_warnings():
        warnings.simplefilter("always")
        sys.stderr.write(warnings.formatwarning(NAME, UserWarning, "f", 1))
    with showing_progress(NAME) as progress:
        progress(1, 1)
    err = capsys.readouterr().err
    check(err)
    assert err.count("evil") == 3


@pytest.mark.parametrize("write", [in_plot, in_markdown, in_svg, in_csv])
def test_everything_that_is_written_for_people_shows_text(write) -> None:
    assert not OBEYED.search(str(write(NAME)))
    assert "\n" not in str(write(NAME))
