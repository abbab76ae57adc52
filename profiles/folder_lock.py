"""Keep two processes from writing into one folder."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import make_folder, remove_empty

LOCK_FILE = ".lock"
"""Name of the file that a folder holds while it is locked. It is no part of what is written."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

_holders: dict[tuple[int, int], int] = {}
"""Threads of this process by the folder that each holds (its device and inode)."""


@contextmanager
def lock_folder(path: str | Path) -> Iterator[Path]:
    """Hold a folder for this thread alone, made with its parents where it is missing.

    The operating system releases the lock when the process ends, however it ends; what a crash
    leaves is an empty hidden file, which hinders nobody. A thread that holds a folder may ask for
    it again. Where the system has no such locks (Windows, some network disks), nothing is locked.

    Args:
        path: The folder that is written into. It may not be a link.

    Yields:
        The folder.

    Raises:
        InputError: If another process or thread holds the folder, or it cannot be written into.
    """
    folder = Path(path)
    made: list[Path] = []
    try:
        with refusing(folder):
            made = make_folder(folder)
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            again = _holders.get(identity) == threading.get_ident()
            descriptor = -1 if again else _acquire(folder / LOCK_FILE)
    except InputError:
        remove_empty(made)
        raise
    if again:
        yield folder
        return
    _holders[identity] = threading.get_ident()
    try:
        yield folder
    finally:
        del _holders[identity]
        if descriptor >= 0:
            with suppress(OSError):
                (folder / LOCK_FILE).unlink()
            os.close(descriptor)
        remove_empty(made)


def lock_descriptor(descriptor: int) -> None:
    """Lock an open file until it is closed; where the system has no such locks, do nothing.

    Raises:
        BlockingIOError: If it is locked already.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def lock_if_there(descriptor: int, path: Path) -> bool:
    """Lock an open file, or close it where it no longer stands at ``path``.

    Who held it before may have removed or moved it when it was done.

    Returns:
        Whether the file is locked and stands at ``path``.

    Raises:
        BlockingIOError: If it is locked already; it is closed then.
    """
    try:
        lock_descriptor(descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return True
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return False


def _acquire(lock: Path) -> int:
    """Return the descriptor of the locked file; -1 on Windows."""
    if sys.platform == "win32":
        return -1
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(lock, flags, 0o666)
        if lock_if_there(descriptor, lock):
            return descriptor
