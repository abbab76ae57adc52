"""What comes home: everything under --work in a few zip files, and back."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

from scripts.visit.told import Visit

VOLUMES, VOLUME_BYTES = 4, 15_500_000
"""Files that may come back, and bytes in each, a little under 16 MB."""


def pack(visit: Visit) -> dict[str, Any]:
    """Everything under --work but installed wheels; small files first, so that the most comes through, and what compilers made last."""
    visit.out.mkdir(parents=True, exist_ok=True)
    for old in visit.out.glob("visit-*.zip"):
        old.unlink()
    files = [path for path in visit.work.rglob("*") if path.is_file() and visit.site not in path.parents and path.suffix != ".part"]
    volumes: list[int] = []
    left_out: list[str] = []
    archive: zipfile.ZipFile | None = None
    for _, size, path in sorted((visit.compiled in path.parents, packed_bytes(path), path) for path in files):
        if archive is None or volumes[-1] + size > VOLUME_BYTES:
            if size > VOLUME_BYTES or len(volumes) == VOLUMES:
                left_out.append(str(path.relative_to(visit.work)))
                continue
            if archive is not None:
                archive.close()
            volumes.append(0)
            archive = zipfile.ZipFile(visit.out / f"visit-{len(volumes)}.zip", "w", zipfile.ZIP_DEFLATED)
        archive.write(path, path.relative_to(visit.work))
        volumes[-1] += size
    if archive is not None:
        archive.close()
    return {"files": [path.name for path in sorted(visit.out.glob("visit-*.zip"))], "left_out": left_out}


def unpack(packed: Path, work: Path) -> None:
    """Put back what an earlier call packed; what is there already is as new or newer, and stays."""
    for archive in sorted(packed.glob("visit-*.zip")):
        with zipfile.ZipFile(archive) as file:
            file.extractall(work, [name for name in file.namelist() if not (work / name).exists()])


def packed_bytes(path: Path) -> int:
    """What a file takes in an archive, its entry in the directory included."""
    packer, size = zlib.compressobj(), 512
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())
