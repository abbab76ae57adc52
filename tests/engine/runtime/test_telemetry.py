"""What the machine was like during a recording: sampled, kept when it is resumed, warned of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adadecode.engine.cli.profile import app
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.profiling import piece_maker
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.runtime import telemetry
from adadecode.engine.runtime.telemetry import Conditions
from adadecode.profiles.store import read_profile
from adadecode.sim.measurements.telemetry import conditions_of
from tests.support.saved_model import options, saved_model
from tests.support.sim_command import run, run_json
from tests.support.synthetic_profile import synthetic_profile


class Meter:
    """A GPU that cools down and slows down, and gives 5 joules a question."""

    def __init__(self) -> None:
        self.asked, self.energy = 0, 0.0

    def joules(self) -> float:
        self.energy += 5.0
        return self.energy

    def describe(self) -> dict[str, Any]:
        self.asked += 1
        return {"driver": "1", "sm_clock_mhz": 2000 - 100 * self.asked, "power_w": 300.5}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample every piece."""
    monkeypatch.setattr(telemetry, "EVERY_S", 0.0)


def sampled(
    folder: Path, meter: Any, pieces: list[str], fallbacks: list[str] | None = None
) -> Conditions:
    made = Conditions(folder, meter)
    made.begin()
    for piece in pieces:
        made.after(piece, fallbacks or [])
    return made


@pytest.mark.usefixtures("quick")
def test_samples_are_columns_over_all_sessions(tmp_path: Path) -> None:
    """A resumed recording goes on in the same columns; the driver does not change."""
    sampled(tmp_path, Meter(), ["a", "b"])
    columns = sampled(tmp_path, Meter(), ["c"]).columns()
    assert columns["session"] == [0, 0, 0, 1, 1]
    assert columns["piece"] == ["", "a", "b", "", "c"]
    assert columns["sm_clock_mhz"] == [1900, 1800, 1700, 1900, 1800]
    assert columns["energy_j"] == [5.0, 10.0, 15.0, 5.0, 10.0]
    assert "driver" not in columns
    assert columns["seconds"][3] < 60


def test_short_pieces_are_not_all_sampled(tmp_path: Path) -> None:
    """The last one always is."""
    made = sampled(tmp_path, Meter(), [])
    made.latest = math.inf
    made.after("a", [])
    made.after("b", [], last=True)
    assert made.columns()["piece"] == ["", "b"]


@pytest.mark.usefixtures("quick")
def test_a_line_torn_by_a_kill_is_left_out(tmp_path: Path) -> None:
    sampled(tmp_path, Meter(), ["a"])
    with (tmp_path / telemetry.FILE).open("a") as file:
        file.write('{"session": 0, "pie')
    assert sampled(tmp_path, Meter(), ["b"]).columns()["piece"][:2] == ["", "a"]


def test_fallbacks_are_kept_once(tmp_path: Path) -> None:
    sampled(tmp_path, Meter(), ["a", "b"], ["no graphs"])
    assert sampled(tmp_path, Meter(), [], []).fallbacks() == ["no graphs"]


def test_every_way_of_timing_is_kept_with_its_session(tmp_path: Path) -> None:
    """Once a session; the manifest has each once."""
    first = sampled(tmp_path, Meter(), [])
    for how in ("events in graphs", "events in graphs", "between layers"):
        first.timed(how)
    again = sampled(tmp_path, Meter(), [])
    again.timed("events in graphs")
    assert again.timings() == ["events in graphs", "between layers"]
    kept = [json.loads(line) for line in (tmp_path / telemetry.FILE).read_text().splitlines()]
    assert [(line["session"], line["timing"]) for line in kept if "timing" in line] == [
        (0, "events in graphs"),
        (0, "between layers"),
        (1, "events in graphs"),
    ]


def test_a_recording_tells_how_it_was_timed_in_every_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was stopped and resumed where layers are timed in another way."""
    model, write = saved_model(tmp_path / "model"), PieceStore.write

    def stopping(self: PieceStore, piece: str, tables: dict[str, Any]) -> None:
        if "latency-000001" in piece:
            raise KeyboardInterrupt
        write(self, piece, tables)

    monkeypatch.setattr(SegmentedModel, "timing", "in one way", raising=False)
    monkeypatch.setattr(PieceStore, "write", stopping)
    assert CliRunner().invoke(app, options(model, tmp_path / "p")).exit_code == 130
    monkeypatch.setattr(SegmentedModel, "timing", "in another", raising=False)
    monkeypatch.setattr(PieceStore, "write", write)
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "p"), "--resume"]).exit_code == 0
    assert read_profile(tmp_path / "p").manifest["timing"] == "in one way, in another"


def test_a_processor_tells_its_load() -> None:
    """And, where it does, its clock."""
    assert all(value >= 0 for value in telemetry.processor().values())
    assert telemetry.busy_seconds() is None or math.isfinite(float(telemetry.busy_seconds() or 0.0))


@pytest.mark.usefixtures("quick")
def test_a_recording_tells_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In its manifest, in the summary, and where it is validated."""
    model = saved_model(tmp_path / "model")
    done = CliRunner().invoke(app, options(model, tmp_path / "p"))
    assert done.exit_code == 0, done.output
    profile = read_profile(tmp_path / "p")
    conditions = profile.manifest["conditions"]
    assert conditions["piece"][:2] == ["", "1-trace-0000"]
    assert conditions["piece"][-1] == "5-branches-0001"
    assert "while recording: " in done.output
    assert not any("NVML" in limitation for limitation in profile.manifest["limitations"])
    capsys.readouterr()
    assert run_json(capsys, "validate", profile.path, "--json")["conditions"] == conditions_of(
        profile
    )
    assert run("validate", profile.path) == 0
    assert "while recording: " in capsys.readouterr().out


def test_an_energy_counter_is_said_to_be_coarse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limitation is listed where there is a counter."""
    monkeypatch.setattr(piece_maker, "EnergyMeter", lambda device: Meter())
    done = CliRunner().invoke(app, options(saved_model(tmp_path / "model"), tmp_path / "p"))
    assert done.exit_code == 0, done.output
    assert any(
        "a counter that NVML moves on in steps" in limitation
        for limitation in read_profile(tmp_path / "p").manifest["limitations"]
    )


def condition_lines(
    folder: Path, columns: dict[str, list[Any]], hardware: dict[str, Any] | None = None
) -> list[str]:
    return conditions_of(
        synthetic_profile(
            folder / "p", manifest={"conditions": columns, "hardware": hardware or {}}
        )
    )


def test_ranges_are_told_in_one_line(tmp_path: Path) -> None:
    """Gaps are left out."""
    columns = {
        "piece": ["", "a", "b"],
        "sm_clock_mhz": [1980, None, 1900],
        "temperature_c": [41, 66, 60],
        "power_w": [None] * 3,
    }
    assert condition_lines(tmp_path, columns) == [
        "while recording: clock 1900 to 1980 MHz, temperature 41 to 66 C"
    ]


def test_a_clock_that_falls_is_warned_of(tmp_path: Path) -> None:
    _, warning = condition_lines(tmp_path, {"sm_clock_mhz": [1980, 1700]})
    assert warning.startswith("warning: the clock fell by 14%")


@pytest.mark.parametrize(
    ("others", "warned"),
    [([None, 3.0, 2.5], True), ([None, 1.0, 3.9, 0.5], True), ([None, *[0.1] * 20, 3.9], False)],
)
def test_a_busy_machine_is_warned_of(
    others: list[float | None], warned: bool, tmp_path: Path
) -> None:
    """Warn where more than a tenth of its four processors is taken, on average."""
    lines = condition_lines(tmp_path, {"others": others}, {"before": {"host": {"threads": 4}}})
    assert any("others kept" in line for line in lines[1:]) == warned


def test_an_older_profile_tells_nothing(tmp_path: Path) -> None:
    assert conditions_of(synthetic_profile(tmp_path / "p")) == []
