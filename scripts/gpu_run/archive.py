"""Pack everything under ``--work`` into a few zip files, and unpack it again."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.gpu_run.state import GpuRun

VOLUMES, VOLUME_BYTES = ("gpu-run-1.zip", "gpu-run-2.zip"), 15_000_000
"""Files that may be copied back, and the most bytes of each.

Their 30 MB and the source tree together are less than may be copied to a machine, so that all of it
can be restored there.
"""
COMPILED_VOLUME = "gpu-run-compiled.zip"
"""What compilers made, in a file of its own of at most the same size.

It saves time where there is room to copy it, and can be made again.
"""
ENTRY_BYTES = 512
"""Bytes of an archive that a file's name and directory entry take."""


def pack(run: GpuRun) -> dict[str, Any]:
    """Put everything under ``--work`` except installed wheels into zip files.

    Small files come first, so that as many as possible fit. What compilers made goes into
    `COMPILED_VOLUME`.

    Returns:
        ``files``, the names of the zip files, and ``left_out``, the files that did not fit.
    """
    run.out.mkdir(parents=True, exist_ok=True)
    for old in _volumes(run.out):
        old.unlink()
    files = [
        path
        for path in run.work.rglob("*")
        if path.is_file() and run.site not in path.parents and path.suffix != ".part"
    ]
    compiled = [path for path in files if run.compiled in path.parents]
    recorded = [path for path in files if run.compiled not in path.parents]
    left_out = _fill(run, VOLUMES, recorded) + _fill(run, (COMPILED_VOLUME,), compiled)
    return {"files": [path.name for path in _volumes(run.out)], "left_out": left_out}


def unpack(packed: Path, work: Path) -> None:
    """Extract what an earlier call packed into ``packed``; files that exist are kept."""
    for volume in _volumes(packed):
        with zipfile.ZipFile(volume) as archive:
            missing = [name for name in archive.namelist() if not (work / name).exists()]
            archive.extractall(work, missing)


def has_volumes(folder: Path) -> bool:
    """Whether a folder holds zip files of an earlier call."""
    return bool(_volumes(folder))


def packed_bytes(path: Path) -> int:
    """Return the bytes of a file when it is compressed."""
    compressor, size = zlib.compressobj(), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            size += len(compressor.compress(chunk))
    return size + len(compressor.flush())


def _volumes(folder: Path) -> list[Path]:
    return sorted(folder.glob("gpu-run-*.zip"))


def _fill(run: GpuRun, volumes: Sequence[str], files: Sequence[Path]) -> list[str]:
    """Put files into these volumes in turn, the smallest first; return those that did not fit."""
    left_out = []
    unused, archive, filled = list(volumes), None, 0
    for path in sorted(files, key=lambda path: (path.stat().st_size, path)):
        if archive is None or not _fits(path, VOLUME_BYTES - filled):
            if not unused or not _fits(path, VOLUME_BYTES):
                left_out.append(str(path.relative_to(run.work)))
                continue
            if archive is not None:
                archive.close()
            archive = zipfile.ZipFile(run.out / unused.pop(0), "w", zipfile.ZIP_DEFLATED)
            filled = 0
        name = str(path.relative_to(run.work))
        archive.write(path, name)
        filled += archive.getinfo(name).compress_size + ENTRY_BYTES
    if archive is not None:
        archive.close()
    return left_out


def _fits(path: Path, room: int) -> bool:
    """Whether a file, compressed, fits into ``room`` bytes.

    It is compressed to find out only where it would not fit as it is.
    """
    size = path.stat().st_size
    return size + size // 1000 + ENTRY_BYTES <= room or packed_bytes(path) + ENTRY_BYTES <= room
