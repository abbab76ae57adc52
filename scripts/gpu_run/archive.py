"""Pack everything under ``--work`` into a few zip files, and unpack it again."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import write_bytes, write_together
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.profiles.part_file import PART_SUFFIX
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
    files = [
        path
        for path in run.work.rglob("*")
        if path.is_file()
        and run.site not in path.parents
        and path.suffix != PART_SUFFIX
        and path.name != LOCK_FILE
    ]
    compiled = [path for path in files if run.compiled in path.parents]
    recorded = [path for path in files if run.compiled not in path.parents]
    volumes, left_out = _fill(run, VOLUMES, recorded)
    of_compilers, left_out_of_them = _fill(run, (COMPILED_VOLUME,), compiled)
    volumes |= of_compilers
    write_together({run.out / name: content.getvalue() for name, content in volumes.items()})
    for path in _volumes(run.out):
        if path.name not in volumes:
            path.unlink()
    return {"files": sorted(volumes), "left_out": left_out + left_out_of_them}


def unpack(packed: Path, work: Path) -> None:
    """Extract what an earlier call packed into ``packed``; files that exist are kept.

    Every file is there whole or not at all, so that a call that was killed can be repeated.
    """
    for volume in _volumes(packed):
        with zipfile.ZipFile(volume) as archive:
            for name in archive.namelist():
                place = work / name
                if not place.exists() and place.resolve().is_relative_to(work.resolve()):
                    write_bytes(place, archive.read(name))


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


def _fill(
    run: GpuRun, names: Sequence[str], files: Sequence[Path]
) -> tuple[dict[str, io.BytesIO], list[str]]:
    """Put files into volumes in turn, the smallest first.

    Returns:
        The volumes that were needed, by name, and the files that did not fit.
    """
    volumes: dict[str, io.BytesIO] = {}
    left_out = []
    unused, archive, filled = list(names), None, 0
    with ExitStack() as archives:
        for path in sorted(files, key=lambda path: (path.stat().st_size, path)):
            name = str(path.relative_to(run.work))
            if archive is None or not _fits(path, VOLUME_BYTES - filled):
                if not unused or not _fits(path, VOLUME_BYTES):
                    left_out.append(name)
                    continue
                content = volumes.setdefault(unused.pop(0), io.BytesIO())
                volume = zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED)
                archive = archives.enter_context(volume)
                filled = 0
            archive.write(path, name)
            filled += archive.getinfo(name).compress_size + ENTRY_BYTES
    return volumes, left_out


def _fits(path: Path, room: int) -> bool:
    """Whether a file, compressed, fits into ``room`` bytes.

    It is compressed to find out only where it would not fit as it is.
    """
    size = path.stat().st_size
    return size + size // 1000 + ENTRY_BYTES <= room or packed_bytes(path) + ENTRY_BYTES <= room
