"""What comes home: everything under --work in a few zip files, and back."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.gpu_run.state import GpuRun

VOLUMES, VOLUME_BYTES = ("visit-1.zip", "visit-2.zip"), 15_000_000
"""Files that may come back, and bytes in each: 30 MB, which together with the tree is less than may be brought to a machine, so that all of it can be restored."""
COMPILED = "visit-compiled.zip"
"""What compilers made, in a file of its own, as large at most: it saves time where there is room to bring it, and can be made again."""
ENTRY_BYTES = 512
"""Of each file in an archive, its name and its entry in the directory."""


def pack(visit: GpuRun) -> dict[str, Any]:
    """Everything under --work but installed wheels, small files first, so that the most comes through; what compilers made apart."""
    visit.out.mkdir(parents=True, exist_ok=True)
    for old in visit.out.glob("visit-*.zip"):
        old.unlink()
    files = [
        path
        for path in visit.work.rglob("*")
        if path.is_file() and visit.site not in path.parents and path.suffix != ".part"
    ]
    parted: dict[bool, list[Path]] = {False: [], True: []}
    for path in files:
        parted[visit.compiled in path.parents].append(path)
    left_out = _fill(visit, VOLUMES, parted[False]) + _fill(visit, (COMPILED,), parted[True])
    return {
        "files": [path.name for path in sorted(visit.out.glob("visit-*.zip"))],
        "left_out": left_out,
    }


def _fill(visit: GpuRun, volumes: Sequence[str], files: Sequence[Path]) -> list[str]:
    """Put files into these volumes, one after the other, the smallest first; those for which there is no room."""
    left_out = []
    rest, archive, filled = list(volumes), None, 0
    for path in sorted(files, key=lambda path: (path.stat().st_size, path)):
        if archive is None or not _fits(path, VOLUME_BYTES - filled):
            if not rest or not _fits(path, VOLUME_BYTES):
                left_out.append(str(path.relative_to(visit.work)))
                continue
            if archive is not None:
                archive.close()
            archive, filled = zipfile.ZipFile(visit.out / rest.pop(0), "w", zipfile.ZIP_DEFLATED), 0
        name = str(path.relative_to(visit.work))
        archive.write(path, name)
        filled += archive.getinfo(name).compress_size + ENTRY_BYTES
    if archive is not None:
        archive.close()
    return left_out


def _fits(path: Path, room: int) -> bool:
    """Whether a file fits, packed, into so many bytes; it is only packed to know where it would not fit as it is."""
    size = path.stat().st_size
    return size + size // 1000 + ENTRY_BYTES <= room or packed_bytes(path) + ENTRY_BYTES <= room


def unpack(packed: Path, work: Path) -> None:
    """Put back what an earlier call packed; what is there already is as new or newer, and stays."""
    for archive in sorted(packed.glob("visit-*.zip")):
        with zipfile.ZipFile(archive) as file:
            file.extractall(work, [name for name in file.namelist() if not (work / name).exists()])


def packed_bytes(path: Path) -> int:
    """What a file takes when it is packed."""
    packer, size = zlib.compressobj(), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())
