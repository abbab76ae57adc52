"""Packing everything into a few zip files, and unpacking it."""

from __future__ import annotations

import errno
import random
import zipfile
from pathlib import Path

import pytest

from adadecode.profiles.errors import InputError
from scripts.gpu_run import archive
from scripts.gpu_run.state import GpuRun
from tests.support.failing_disk import Fault, failing_disk
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


def test_a_full_disk_keeps_what_an_earlier_call_packed(run: GpuRun) -> None:
    (run.work / "a").write_text("first")
    archive.pack(run)
    (run.work / "a").write_text("second")
    with (
        failing_disk(run.out, Fault(at=0, step="write", outcome=errno.ENOSPC)),
        pytest.raises(InputError, match="make room"),
    ):
        archive.pack(run)
    assert zipfile.ZipFile(run.out / "gpu-run-1.zip").read("a") == b"first"


def test_unpacking_that_was_cut_short_can_be_repeated(run: GpuRun) -> None:
    """No half of a file is taken for the file that was packed."""
    (run.work / "a").write_text("packed")
    archive.pack(run)
    (run.work / "a").unlink()
    with (
        failing_disk(run.work, Fault(at=0, step="write", outcome=errno.ENOSPC)),
        pytest.raises(InputError, match="make room"),
    ):
        archive.unpack(run.out, run.work)
    archive.unpack(run.out, run.work)
    assert (run.work / "a").read_text() == "packed"
