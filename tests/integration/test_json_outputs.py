"""The figures that ``--json`` prints about the committed recording stay what they were.

``golden/`` holds what the same commands printed at commit e51e6da, before the code was moved into
packages, without the keys in `VARYING`. Keys may be added, but each recorded key must be there with
the same value: texts and whole numbers exactly, other numbers within 1e-12 of themselves, since
processors may sum in another order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import DEMO_PROFILE, ROOT
from tests.support.sim_command import run, run_json

GOLDEN = Path(__file__).parent / "golden"
PROFILE = DEMO_PROFILE.relative_to(ROOT).as_posix()
DEVICE = (GOLDEN / "this_cpu.toml").relative_to(ROOT).as_posix()
OTHER_CPU = (GOLDEN / "other_cpu.toml").relative_to(ROOT).as_posix()
ELSEWHERE = ("--from", DEVICE, "--to", "h100-sxm")
VARYING = {"created", "sha256", "path"}
"""Keys whose values differ between two runs of one command, or between two machines."""
PRECISION = 1e-12

COMMANDS: dict[str, tuple[str, ...]] = {
    "predict_all_heads": ("predict", PROFILE),
    "predict_three_heads": ("predict", PROFILE, "--heads", "2,5,9", "--gamma", "0.7"),
    "predict_domain": (
        *("predict", PROFILE, "--heads", "3,7", "--gamma", "0.8,0.6", "--domain", "code"),
    ),
    "predict_fixed": ("predict", PROFILE, "--policy", "fixed", "--heads", "4", "--cap", "3"),
    "predict_oracle": ("predict", PROFILE, "--policy", "oracle"),
    "predict_on_another_device": ("predict", PROFILE, *ELSEWHERE),
    "predict_from_datasheet": (
        *("predict", "datasheet", "--to", "h200-sxm", "--model", "llama-3.1-8b"),
        *("--trace", PROFILE, "--map", "3:6,7:14", "--heads", "6,14"),
    ),
    "predict_shortlist": (
        *("predict", PROFILE, "--heads", "3,7", "--shortlist", "256"),
        *("--to", DEVICE, "--from", DEVICE),
    ),
    "validate": ("validate", PROFILE),
    "account": ("account", PROFILE, "--heads", "3,7", "--gamma", "0.8"),
    "limits": ("limits", PROFILE, "--heads", "3,7"),
    "memory": (
        *("memory", "llama-3.1-8b", "--device", "rtx-3060-8gb"),
        *("--heads", "8,16,24", "--dtype", "int4"),
    ),
    "transfer": ("transfer", PROFILE, "--from", DEVICE, "--to", OTHER_CPU),
}
SLOW_COMMANDS: dict[str, tuple[str, ...]] = {
    "limits_on_another_device": ("limits", PROFILE, "--heads", "3,7", *ELSEWHERE),
}
SWEEPS: dict[str, tuple[str, ...]] = {
    "sweep": (),
    "sweep_other_device": (
        *("--from", DEVICE, "--devices", "h100-sxm", "--objective", "tpot,flops"),
    ),
}


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the profile as the recorded commands did: messages and digests hold its path."""
    monkeypatch.chdir(ROOT)


def differences(recorded: Any, printed: Any, place: str = "") -> list[str]:
    """Return where a printed value does not hold the recorded one, a line each."""
    if isinstance(recorded, dict):
        if not isinstance(printed, dict):
            return [f"{place}: wanted an object, got {printed!r}"]
        lines = [f"{place}.{key}: missing" for key in recorded if key not in printed]
        for key in recorded.keys() & printed.keys():
            lines += differences(recorded[key], printed[key], f"{place}.{key}")
        return lines
    if isinstance(recorded, list):
        if not isinstance(printed, list) or len(printed) != len(recorded):
            return [f"{place}: wanted {recorded!r}, got {printed!r}"]
        return [
            line
            for number, pair in enumerate(zip(recorded, printed, strict=True))
            for line in differences(*pair, f"{place}[{number}]")
        ]
    wanted = recorded
    if isinstance(recorded, float):
        wanted = pytest.approx(recorded, rel=PRECISION, abs=0.0)
    if type(printed) is type(recorded) and printed == wanted:
        return []
    return [f"{place}: wanted {recorded!r}, got {printed!r}"]


def check(name: str, printed: dict[str, Any]) -> None:
    recorded = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert differences(recorded, printed) == []


@pytest.mark.parametrize(
    "name", [*COMMANDS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_COMMANDS)]
)
def test_a_command_prints_the_recorded_figures(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (COMMANDS | SLOW_COMMANDS)[name]
    check(name, run_json(capsys, *command, "--json"))


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_prints_the_recorded_figures(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = ("--gammas", "0.5,0.75", "--max-heads", "2")
    out = ("--out", tmp_path / "sweep", "--json")
    assert run("sweep", PROFILE, *space, *SWEEPS[name], *out) == 0
    check(name, json.loads(capsys.readouterr().out))  # progress goes to standard error


def test_every_recorded_output_is_compared() -> None:
    """No file lies there unread, and none holds a value that varies."""
    files = {path.stem: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.json")}
    assert files.keys() == COMMANDS.keys() | SLOW_COMMANDS.keys() | SWEEPS.keys()
    assert not [name for name, text in files.items() for key in VARYING if f'"{key}"' in text]


def test_a_changed_figure_is_found() -> None:
    """The comparison itself sees the last digits, types, lengths and missing keys."""
    recorded = {"a": [1, 0.1], "b": "text", "c": None}
    assert differences(recorded, {**recorded, "new": 1}) == []
    assert differences(recorded, {**recorded, "a": [1, 0.1 * (1 + 1e-11)]})
    assert differences(recorded, {**recorded, "a": [1.0, 0.1]})
    assert differences(recorded, {**recorded, "a": [1, 0.1, 2]})
    assert differences(recorded, {"a": [1, 0.1], "b": "text"}) == [".c: missing"]
