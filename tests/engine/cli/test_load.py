"""``adadecode-load`` on the demo model: what it adds to a profile, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adadecode.engine.cli.entry_points import load_main
from adadecode.engine.profiling.planned_load import plan_load
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import read_profile
from adadecode.sim.serving.load_validation.held import hold_loads
from tests.support.paths import DEMO_PROFILE

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``adadecode-load``: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["adadecode-load", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            load_main()
        return (int(stop.value.code or 0), *capsys.readouterr())

    return call


@pytest.mark.slow
def test_a_load_is_added_and_held_against_the_simulator(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "loaded"
    options = ("--arrivals", "constant:40,count=4,output=5", "--max-num-seqs", "2", "--repeats", 2)
    code, printed, err = run(DEMO_PROFILE, "--out", out, *options, "--heads", "3,7", "--gamma", 0.5)
    assert code == 0, err
    assert "adadecode" in printed
    before, after = read_profile(DEMO_PROFILE), read_profile(out)
    assert after.trace.equals(before.trace)
    assert after.manifest["load"]["source"] == options[1]
    assert [one["design"]["policy"] for one in after.manifest["load"]["runs"]] == [
        *("vanilla", "adadecode", "vanilla", "adadecode"),
    ]
    held = hold_loads(after)
    assert [one.run.settings.design.label for one in held] == [
        "vanilla",
        "adadecode 3/7 gamma 0.5",
    ]
    for one in held:
        assert one.exact
        assert one.noise is not None
        assert all(replay.time_error < 1e-3 for replay in one.replays)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arrivals", "poisson:0,count=2"], "wanted poisson as a number"),
        (["--arrivals", "closed:4,count=8"], "wanted arrivals at times of their own"),
        (["--arrivals", "poisson:1,count=2,prompt=5"], "leave it out, and say with output="),
        (["--arrivals", "nothing.csv"], "which is neither: check the name"),
        (
            ["--arrivals", "poisson:1,count=2", "--order", "deep"],
            "wanted --order as one of lockstep",
        ),
        (["--arrivals", "poisson:1,count=2", "--heads", "3,99"], "depth"),
        (["--arrivals", "poisson:1,count=2", "--kv-blocks", "1"], "more kv_blocks"),
        (
            ["--arrivals", "poisson:1,count=2", "--cap", "3", "--gate", "0.5"],
            "wanted --gamma or --heads beside --gate and --cap, got neither",
        ),
        (
            ["--arrivals", "poisson:1,count=2", "--cap", "5"],
            "wanted --gamma or --heads beside --cap, got neither",
        ),
        (
            ["--arrivals", "poisson:1,count=2,seed=3", "--seed", "0"],
            "wanted one seed, got 0 beside the seed in 'poisson:1,count=2,seed=3'",
        ),
    ],
)
def test_bad_options_are_refused(
    run: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    code, _, err = run(DEMO_PROFILE, "--out", out, *options)
    assert (code, message in " ".join(err.split())) == (2, True), err
    assert not out.exists() or not any(out.iterdir())


def test_prompts_come_in_turn_and_texts_are_no_longer_than_asked(tmp_path: Path) -> None:
    load = plan_load("poisson:3,count=10,output=2..6", [5, 4, 3], seed=2)
    assert load == plan_load("poisson:3,count=10,output=2..6", [5, 4, 3], seed=2)
    assert sorted(one.prompt for one in load.requests[:3]) == [0, 1, 2]
    assert all(one.max_new_tokens <= [5, 4, 3][one.prompt] for one in load.requests)
    file = tmp_path / "requests.csv"
    file.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.0,9,2\n"
        "2024-05-10 00:00:01.5,9,40\n"
    )
    found = plan_load(str(file), [7])
    assert [(one.arrival_s, one.max_new_tokens) for one in found.requests] == [(0.0, 2), (1.5, 7)]
    with pytest.raises(InputError, match="closed loop"):
        plan_load("closed:2,count=4", [7])


def test_times_of_a_file_are_arrivals(tmp_path: Path) -> None:
    file = tmp_path / "times.txt"
    file.write_text("0\n0.25\n2\n")
    found = plan_load(f"times:{file},output=3", [7])
    assert [(one.arrival_s, one.max_new_tokens) for one in found.requests] == [
        *((0.0, 3), (0.25, 3), (2.0, 3)),
    ]


def test_a_seed_in_the_specification_is_the_seed() -> None:
    """Of the arrivals and of the prompts."""
    within = plan_load("poisson:3,count=9,seed=4", [5, 4, 3]).requests
    assert within == plan_load("poisson:3,count=9", [5, 4, 3], seed=4).requests
    assert within != plan_load("poisson:3,count=9", [5, 4, 3]).requests
