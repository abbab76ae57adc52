"""Packing everything into a few zip files, and unpacking it."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from scripts.gpu_run import archive
from scripts.gpu_run.state import GpuRun
from tests.support.gpu_run import gpu_run


@pytest.fixture
def run(tmp_path: Path) -> GpuRun:
    (tmp_path / "work").mkdir()
    return gpu_run(tmp_path / "work", out=tmp_path / "out")


def test_files_that_do_not_fit_are_left_out_and_named(
    run: GpuRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files are packed."""
    monkeypatch.setattr(archive, "VOLUME_BYTES", 3200)
    for name, size in (("a", 2000), ("b", 2000), ("c", 2000), ("d", 9000)):
        (run.work / name).write_bytes(random.Random(name).randbytes(size))
    (run.work / "easy").write_bytes(b"x" * 9000)
    assert archive.pack(run) == {
        "files": ["gpu-run-1.zip", "gpu-run-2.zip"],
        "left_out": ["c", "d"],
    }
    assert [zipfile.ZipFile(run.out / name).namelist() for name in archive.VOLUMES] == [
        ["a"],
        ["b", "easy"],
    ]
    assert all(path.stat().st_size <= 3200 for path in run.out.iterdir())


def test_what_compilers_made_has_a_file_of_its_own(run: GpuRun) -> None:
    """It can be made again, and need not be copied."""
    run.compiled.mkdir()
    (run.compiled / "a").write_text("x")
    (run.work / "results.json").write_text("x" * 1000)
    assert archive.pack(run) == {
        "files": ["gpu-run-1.zip", "gpu-run-compiled.zip"],
        "left_out": [],
    }
    assert [zipfile.ZipFile(path).namelist() for path in sorted(run.out.iterdir())] == [
        ["results.json"],
        ["compiled/a"],
    ]


def test_a_file_that_fits_as_it_is_is_compressed_once(
    run: GpuRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.work / "a").write_bytes(b"x" * 1000)
    monkeypatch.setattr(archive, "packed_bytes", lambda _: pytest.fail("compressed for its size"))
    assert archive.pack(run) == {"files": ["gpu-run-1.zip"], "left_out": []}


def test_unpacking_keeps_the_files_that_exist(run: GpuRun) -> None:
    """They are what was packed, or newer."""
    for name in ("a", "b"):
        (run.work / name).write_text("packed")
    archive.pack(run)
    (run.work / "a").write_text("newer")
    (run.work / "b").unlink()
    archive.unpack(run.out, run.work)
    assert [(run.work / name).read_text() for name in ("a", "b")] == ["newer", "packed"]
