"""Keep two processes from writing into one folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adadecode.profiles.errors import InputError

LOCK_FILE = ".lock"
"""Name of the file that a folder holds while it is locked. It is no part of what is written."""


@contextmanager
def lock_folder(path: str | Path) -> Iterator[Path]:
    """Hold a folder for this process alone, made with its parents where it is missing.

    The operating system releases the lock when the process ends, however it ends; what a crash
    leaves is an empty hidden file, which hinders nobody. Where the system has no such locks
    (Windows), nothing is locked.

    Args:
        path: The folder that is written into.

    Yields:
        The folder.

    Raises:
        InputError: If another process holds the folder, or it cannot be written into.
    """
    folder = Path(path)
    if sys.platform == "win32":
        yield folder
        return
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder)
    except BlockingIOError:
        raise InputError(
            f"another process is writing into {folder}: wait for it, or name another directory"
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot write into {folder} ({error.strerror}): name another directory"
        ) from error
    try:
        yield folder
    finally:
        (folder / LOCK_FILE).unlink(missing_ok=True)
        os.close(descriptor)
        if new:
            with suppress(OSError):
                folder.rmdir()  # only where nothing was written


def _acquire(folder: Path) -> int:
    """Return the descriptor of the locked file. Raise BlockingIOError where it is locked."""
    import fcntl

    lock = folder / LOCK_FILE
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder removes the file when it is done: what was locked may be gone by now.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), lock.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
