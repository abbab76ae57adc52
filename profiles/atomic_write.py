"""Write files so that a reader sees a whole one or none."""

from __future__ import annotations

import os
from pathlib import Path

from adadecode.profiles.errors import ProfileError


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``: all of it or, whatever happens, what was there before."""
    if path.parent.exists() and not path.parent.is_dir():
        raise ProfileError(
            f"wanted a directory to write a profile in, {path.parent} is a file: name another"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    if (
        os.name == "posix"
    ):  # the move itself must reach the disk too; elsewhere a directory cannot be synced
        entry = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)
