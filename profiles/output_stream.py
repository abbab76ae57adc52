"""Outputs that are no files of their own: the standard output, and nothing."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")

_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}


def is_stream(path: Path) -> bool:
    """Return whether a name means an open file of this process, or the null device.

    It does by its spelling (``/dev/stdout``, ``/dev/fd/63``), because a shell puts a file, a pipe
    or a terminal behind these names.
    """
    return str(path) == os.devnull or _descriptor(path) is not None


def open_stream(path: Path) -> BinaryIO:
    """Return what a name that `is_stream` stands for, open for writing. Raises OSError."""
    descriptor = _descriptor(path)
    if descriptor is None:
        return Path(os.devnull).open("wb")
    for printed in (sys.stdout, sys.stderr):
        printed.flush()
    # The open file itself: opened by its name, a file behind it would be emptied.
    return os.fdopen(os.dup(descriptor), "wb")


def _descriptor(path: Path) -> int | None:
    if os.name != "posix":
        return None
    found = _DESCRIPTOR.fullmatch(str(path))
    return int(found[1]) if found else _STANDARD.get(str(path))
