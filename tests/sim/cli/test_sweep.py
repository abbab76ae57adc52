"""What ``adadecode-sim sweep`` prints, and where it cannot write."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.sim.prediction.caveats import ONE_PROMPT
from tests.support.sim_command import run
from tests.support.synthetic_profile import synthetic_profile

FEW = ["--gammas", "0.4", "--max-heads", "1", "--threads", "1"]


def test_one_prompt_says_nothing_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal, in the report, in its Markdown."""
    profile = synthetic_profile(tmp_path / "p", prompts=1)
    assert run("sweep", profile.path, "--out", tmp_path / "s", *FEW) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f": {ONE_PROMPT}; proven the best of the space" in out
    assert "prompts like these" not in out
    pytest.importorskip("plotly")
    assert (
        run("report", tmp_path / "s", "--out", tmp_path / "r.html", "--markdown", tmp_path / "r.md")
        == 0
    )
    for name in ("r.html", "r.md"):
        text = (tmp_path / name).read_text()
        assert f"{ONE_PROMPT.capitalize()}." in text
        assert "prompts like these" not in text


def test_several_prompts_give_an_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = synthetic_profile(tmp_path / "p", prompts=3)
    assert run("sweep", profile.path, "--out", tmp_path / "s", *FEW) == 0
    assert "other prompts like these would give" in " ".join(capsys.readouterr().out.split())
    pytest.importorskip("plotly")
    assert run("report", tmp_path / "s", "--out", tmp_path / "r.html") == 0
    assert (
        "With 3 other prompts like these it would lie within" in (tmp_path / "r.html").read_text()
    )


@pytest.mark.parametrize(
    ("out", "message"),
    [("/proc/sw", "cannot write /proc/sw"), ("", "wanted the name of a directory as --out")],
)
def test_a_directory_that_cannot_be_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    """The message is one sentence."""
    profile = synthetic_profile(tmp_path / "p")
    assert run("sweep", profile.path, "--out", out, *FEW) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"error: {message}")
