"""What a user is told where the operating system refuses to write."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adadecode.profiles.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system, while ``path`` is written, into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(_refusal(path, error)) from error


def _refusal(path: Path, error: OSError) -> str:
    """Return what could not be written, why, and what to do."""
    if isinstance(error, BlockingIOError):
        into = " into" if path.is_dir() else ""
        return f"another process is writing{into} {path}: wait for it, or name another place"
    reason, todo = error.strerror or str(error), "name another place"
    if isinstance(error, FileExistsError | NotADirectoryError):
        in_the_way = (one for one in (path, *path.parents) if os.path.lexists(one))
        if (found := next(in_the_way, path)) and not found.is_dir():
            reason = f"wanted a directory, {found} is a file"
    if error.errno in _FULL:
        todo = f"make room, or {todo}"
    return f"cannot write {path} ({reason}): {todo}"
