"""The visit's script on a CPU: stages run, failures are told and stop nothing, what is cut short goes on, and all comes back in few files."""

from __future__ import annotations

import json
import random
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from profiles.store import read_profile
from sim.compare import compare

SCRIPT = Path(__file__).parents[1] / "scripts/gpu_visit.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """What the script defines."""
    return runpy.run_path(str(SCRIPT))


def visit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--dry-run", "--work", str(folder / "work"), "--out", str(folder / "out"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def result(folder: Path, stage: str) -> dict[str, Any]:
    told = json.loads((folder / "work/results" / f"{stage}.json").read_text())
    assert isinstance(told, dict)
    return told


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set up, one shape recorded, validated and packed; of the others, one is hopeless."""
    folder = tmp_path_factory.mktemp("visit")
    done = visit(folder, "--stage", "setup,device,llama-8b,validate,pack")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_shape_is_recorded_with_scripted_decisions(visited: Path) -> None:
    """A whole profile, whose structure is the simulator's."""
    profile = read_profile(visited / "work/profiles/llama-8b")
    assert profile.manifest["scripted"]["profile"] == "demo-cpu"
    assert compare(profile).cells["exact"].all()
    assert result(visited, "llama-8b")["result"]["designs"][0]["policy"] == "vanilla"


def test_what_was_recorded_is_validated_beside_the_ceiling(visited: Path) -> None:
    told = result(visited, "validate")["result"]["llama-8b"]
    assert told["holds"]
    assert told["structure"]["exact"] == told["structure"]["runs"] > 0
    assert told["ceiling_tokens_per_s"] > 0
    assert told["share_of_ceiling"] == pytest.approx(told["speeds"][0]["tokens_per_s"] / told["ceiling_tokens_per_s"])


def test_everything_comes_back_in_few_files_of_bounded_size(visited: Path) -> None:
    files = sorted((visited / "out").iterdir())
    assert 1 <= len(files) <= 8
    assert all(file.stat().st_size <= 16_000_000 for file in files)
    packed = {name for file in files for name in zipfile.ZipFile(file).namelist()}
    assert {"profiles/llama-8b/manifest.json", "results/validate.json", "device.toml", "logs/llama-8b.log"} <= packed


def test_what_is_done_is_not_done_again_after_a_restore(visited: Path, tmp_path: Path) -> None:
    """From the zip files alone, on a machine where nothing was left."""
    done = visit(tmp_path, "--stage", "device,llama-8b", "--restore", str(visited / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == ["device: done before", "llama-8b: done before"]


def test_a_failure_is_told_and_stops_nothing_else(tmp_path: Path) -> None:
    """No such profile to follow: the shape's stage fails, validation has nothing, and both are packed as told."""
    done = visit(tmp_path, "--stage", "llama-8b,validate,pack", "--source", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert result(tmp_path, "llama-8b")["state"] == "failed"
    assert "nowhere does not exist" in result(tmp_path, "llama-8b")["error"]
    assert "nothing was recorded yet" in result(tmp_path, "validate")["error"]
    assert "Traceback" in (tmp_path / "work/logs/llama-8b.log").read_text()
    assert result(tmp_path, "pack")["state"] == "done"


def test_what_runs_out_of_time_is_unfinished_and_goes_on(tmp_path: Path) -> None:
    """A second is too short for anything; the stage is interrupted, said to be unfinished, and tried again."""
    done = visit(tmp_path, "--stage", "setup", "--minutes", "0.4")
    assert done.returncode == 1
    assert result(tmp_path, "setup")["state"] == "unfinished"
    assert visit(tmp_path, "--stage", "setup").returncode == 0


def test_without_time_left_nothing_is_begun_but_packing(tmp_path: Path) -> None:
    done = visit(tmp_path, "--stage", "demo,pack", "--minutes", "0.1")
    assert done.stdout.splitlines()[0] == "demo: no time left in this call"
    assert result(tmp_path, "pack")["state"] == "done"
    assert not (tmp_path / "work/profiles").exists()


def test_only_as_many_layers_as_fit_are_recorded(script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine says how many would, and those are tried."""
    from profiles.errors import InputError

    asked: list[list[str]] = []

    def record(_visit: object, name: str, options: list[str]) -> dict[str, Any]:
        asked.append(options)
        if len(asked) == 1:
            raise InputError("it takes 63 GiB, 40 are free on cuda: take --layers 24 or --shape llama-2-7b")
        return {"profile": name}

    inner = script["_record_shape"]
    monkeypatch.setitem(inner.__globals__, "_record", record)
    visit_ = script["Visit"](
        work=tmp_path,
        out=tmp_path,
        source=SCRIPT.parents[1] / "profiles/recorded/demo-cpu",
        device="cuda",
        dry=False,
        wheels=None,
        seconds=1.0,
    )
    assert inner(visit_, "codellama-34b", []) == {"profile": "codellama-34b"}
    assert "--layers" not in asked[0]
    assert asked[1][-2:] == ["--layers", "24"]
    assert asked[1][asked[1].index("--map") + 1].endswith("15:22")


def test_files_too_many_or_too_large_are_said_to_be_left_out(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is small comes through."""
    pack = script["pack"]
    monkeypatch.setitem(pack.__globals__, "VOLUME_BYTES", 3200)
    monkeypatch.setitem(pack.__globals__, "VOLUMES", 2)
    for name, size in (("a", 2000), ("b", 2000), ("c", 2000), ("d", 9000)):
        (tmp_path / "work").mkdir(exist_ok=True)
        (tmp_path / "work" / name).write_bytes(random.Random(name).randbytes(size))
    (tmp_path / "work" / "easy").write_bytes(b"x" * 9000)
    visit_ = script["Visit"](
        work=tmp_path / "work", out=tmp_path / "out", source=tmp_path, device="cpu", dry=True, wheels=None, seconds=1.0
    )
    assert pack(visit_) == {"files": ["visit-1.zip", "visit-2.zip"], "left_out": ["c", "d"]}
    assert zipfile.ZipFile(tmp_path / "out/visit-1.zip").namelist() == ["easy", "a"]
    assert all(path.stat().st_size <= 3200 for path in (tmp_path / "out").iterdir())


LOSSLESS = {"prompts": 2, "equal_to_generate": 2, "tolerance_nats": 0.1}
SAME = {"design": "vanilla", "texts": 2, "equal_texts": 2, "beyond": 0}


@pytest.mark.parametrize(
    ("dtype", "change", "row", "wanted"),
    [
        ("float32", {}, {}, []),
        ("float32", {"equal_to_generate": 1}, {}, ["float32: vanilla wrote generate's text on 1 of 2 prompts"]),
        ("float32", {}, {"equal_texts": 1}, ["float32: vanilla wrote vanilla's text on 1 of 2 prompts"]),
        ("bfloat16", {"equal_to_generate": 1}, {"equal_texts": 1}, []),
        ("bfloat16", {}, {"beyond": 3}, ["bfloat16: vanilla has 3 tokens beyond 0.1 nats"]),
    ],
)
def test_what_is_lost_is_said(script: dict[str, Any], dtype: str, change: dict[str, Any], row: dict[str, Any], wanted: list[str]) -> None:
    """In FP32 any difference, in BF16 what no near-tie explains."""
    assert script["_losses"](dtype, {**LOSSLESS, **change, "designs": [{**SAME, **row}]}) == wanted


def test_a_stage_whose_findings_are_wrong_fails_and_tells_them(
    script: dict[str, Any], visited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is written, and the stage is not done."""
    inside = script["inside"]
    monkeypatch.setitem(inside.__globals__, "_validated", lambda *_: {"holds": False})
    shutil.copytree(visited / "work", tmp_path / "work")
    visit_ = script["Visit"](work=tmp_path / "work", out=tmp_path, source=tmp_path, device="cpu", dry=True, wheels=None, seconds=1.0)
    inside(visit_, "validate")
    told = result(tmp_path, "validate")
    assert (told["state"], told["result"]) == ("failed", {"llama-8b": {"holds": False}})
    assert "llama-8b: the simulator" in told["error"]


@pytest.mark.parametrize("name", ["--stage=coffee", "--device=tpu"])
def test_what_nobody_knows_is_refused(tmp_path: Path, name: str) -> None:
    assert visit(tmp_path, name).returncode == 2
