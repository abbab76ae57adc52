"""What people read: nothing is cut at any width, and every figure says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adadecode.profiles import Profile
from tests.support.handmade import promising, recorded_profile
from tests.support.paths import DEMO_PROFILE
from tests.support.recordings import on_a100
from tests.support.sim_command import run

FEW = ("--gammas", "0.3,0.6", "--max-heads", "1", "--threads", "1")
HEADS = ("--layers", "8", "--depths", "2,4", "--agreement", "0.6,0.9", "--tokens", "30")


@pytest.fixture(scope="module")
def a100(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Return a recording of a known model on a known device, with measured runs."""
    return on_a100(tmp_path_factory.mktemp("tables") / "p", runs=True)


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Return what a command prints for people."""
    assert run(*words) == 0
    return capsys.readouterr().out


def cells(text: str) -> list[list[str]]:
    """Return the cells of every row of the tables in a text."""
    rows = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize(
    "words",
    [
        ["predict", "P"],
        ["predict", "P", "--to", "h100-sxm"],
        ["sweep", "P", *FEW, "--objective", "tpot,flops,energy", "--out", "OUT"],
        ["validate", "P"],
        ["limits", "P", "--gamma", "0.6"],
        ["account", "P", "--to", "l4"],
        ["memory", "llama-3.1-8b", "--device", "rtx-3060-8gb", "--device", "h100-sxm"],
        ["transfer", "P", "--to", "l4"],
        ["devices"],
        ["models"],
        ["synthesize", *HEADS, "--out", "OUT"],
        ["acceptance", *HEADS, "--speedup", "1.1", "--head-cost", "0.5", "--prompts", "2"],
    ],
    ids=lambda words: " ".join(words[:1] + words[2:3]) if isinstance(words, list) else None,
)
def test_nothing_is_cut(
    a100: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    width: int,
) -> None:
    """No ellipsis, and no line of a table beyond the terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    places = {"P": str(a100.path), "OUT": str(tmp_path / "o")}
    text = shown(capsys, *(places.get(word, word) for word in words))
    assert "…" not in text
    tables = [line for line in text.splitlines() if line[:1] in "┏┃┡│├└"]
    assert tables
    assert max(map(len, tables)) <= width


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_table_loses_nothing(
    a100: Profile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Cells are broken where they must be: put together again, they hold what a wide one holds."""

    def columns(at: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(at))
        rows = cells(shown(capsys, "devices"))
        return ["".join("".join(column).split()) for column in zip(*rows, strict=True)]

    assert columns(width) == columns(300)


def test_a_prediction_gives_prompts_and_tokens_a_row_each(
    a100: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row[0]: row[1] for row in cells(shown(capsys, "predict", a100.path))}
    assert rows["prompts"].isdigit()
    assert rows["output tokens"].isdigit()


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ([], "interval: nine in ten timed runs of this profile"),
        (["--to", "h100-sxm"], "interval: what is uncertain about the two devices"),
    ],
)
def test_an_interval_says_what_it_covers(
    a100: Profile, capsys: pytest.CaptureFixture[str], device: list[str], words: str
) -> None:
    assert words in shown(capsys, "predict", a100.path, *device)


def test_every_objective_has_a_column(
    a100: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the designs of which none is worse in every one of them are listed."""
    words = ["sweep", a100.path, *FEW, "--out", tmp_path / "s", "--objective", "tpot,flops,memory"]
    text = " ".join(shown(capsys, *words).split())
    assert "FLOP" in text
    assert "GB" in text
    assert "Pareto front on a100-80gb-sxm by tpot, flops, memory" in text


def test_one_column_has_one_format(capsys: pytest.CaptureFixture[str]) -> None:
    """FLOPs and bytes of the parts have as many decimals as their sum, and no exponents."""
    text = shown(capsys, "account", DEMO_PROFILE, "--heads", "3,7")
    rows = [row for row in cells(text) if len(row) == 5 and row[2].endswith("%")]
    assert len(rows) == 8
    for column in (1, 3):
        assert {len(row[column].partition(".")[2]) for row in rows} == {2}
    assert not re.search(r"\de[-+]\d", text)


def test_a_transfer_has_no_empty_columns(
    a100: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was measured there, and the error, only where something was."""
    monkeypatch.setenv("COLUMNS", "200")
    alone = shown(capsys, "transfer", a100.path, "--to", "h100-sxm")
    assert all(all(row) for row in cells(alone))
    assert "error" not in alone
    there = on_a100(tmp_path / "q")
    compared = shown(
        capsys, "transfer", a100.path, "--to", "a100-80gb-sxm", "--against", there.path
    )
    assert "measured there" in compared
    assert len(cells(compared)[0]) == len(cells(alone)[0]) + 2


def test_validate_says_first_whether_to_trust_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = recorded_profile(tmp_path / "p", slower={"vanilla": 1.3})
    text = shown(capsys, "validate", profile.path)
    assert re.match(r"Trust this recording: (yes|no)\n", text)
    assert "noise floor" in text


def test_a_validation_that_fails_says_which_tier_and_by_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The median error is 4.55 %: half of the runs are exact, half are 9.09 % off."""
    profile = promising(recorded_profile(tmp_path / "p", slower={"vanilla": 1.1}))
    assert run("validate", profile.path, "--fail-over", "1%", "--json") == 1
    failure = capsys.readouterr().err
    assert failure.startswith("failed: T2 predicted time, the median error of 4.55% is 3.55 ")
    assert "over 1.00%" in failure
    assert run("validate", profile.path, "--fail-over", "5%") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("value", ["5", "0.05", "nan%", "-1%", "x", "%"])
def test_a_limit_is_a_percentage_with_its_sign(
    capsys: pytest.CaptureFixture[str], value: str
) -> None:
    assert run("validate", "nowhere", "--fail-over", value) == 2
    assert "--fail-over as a percentage" in capsys.readouterr().err
