"""A file that is being written beside its place, and takes it when it is whole.

The part of ``NAME`` is ``NAME.part`` in the same folder. It is locked while it is written, so that
two processes never write one part; the system releases the lock when a process ends, however it
ends. What a killed process left is not locked: the next one that writes ``NAME`` removes it.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from adadecode.profiles.folder_lock import lock_if_there
from adadecode.profiles.output_folder import sync_folder

PART_SUFFIX = ".part"
"""What the name of a file that is still being written ends with."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LEFT = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


_MOVES_OPEN_FILES = os.name == "posix"
"""Whether files can be moved and removed while they are open; Windows cannot."""


def part_of(place: Path) -> Path:
    """Return where the part of a file is written."""
    return place.with_name(place.name + PART_SUFFIX)


class PartFile(io.RawIOBase):
    """The part of a file, open for writing.

    After `move` it stands in its place. Closed before that, it is gone, and what was in its place
    is as it was.

    Args:
        place: Where the file is to stand. Its folder must exist.

    Attributes:
        failure: The first error of the operating system while writing. A library that writes into
            the part may raise another one instead.

    Raises:
        BlockingIOError: If another process writes the same part.
        OSError: If it cannot be made.
    """

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place = place
        self.path = part_of(place)
        self.failure: OSError | None = None
        self._descriptor, self._is_there = -1, False
        self._descriptor, self._is_there = _new_part(self.path), True

    def write(self, data: Any, /) -> int:  # noqa: ANN401  bytes, or what holds them
        """Write all of these bytes, and return how many they are."""
        with memoryview(data).cast("B") as view:
            try:
                write_all(self._descriptor, view)
            except OSError as error:
                self.failure = self.failure or error
                raise
            return len(view)

    def sync(self) -> None:
        """Bring what was written to the disk. Raises OSError."""
        os.fsync(self._descriptor)

    def move(self) -> None:
        """Move the part, which is synced, to its place, and sync the folder. Raises OSError."""
        if not _MOVES_OPEN_FILES:
            self._close_descriptor()
        os.replace(self.path, self.place)  # noqa: PTH105  tests let the functions of os fail
        self._is_there = False
        self._close_descriptor()
        sync_folder(self.place.parent)

    def close(self) -> None:
        """Remove the part, unless it was moved."""
        if not _MOVES_OPEN_FILES:
            self._close_descriptor()
        if self._is_there:
            self._is_there = False
            with suppress(OSError):
                self.path.unlink()
        self._close_descriptor()
        super().close()

    def _close_descriptor(self) -> None:
        """Close the file, which also releases its lock."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def seekable(self) -> bool:
        """Return that a position can be chosen."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, and return it."""
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


def write_all(descriptor: int, data: memoryview) -> None:
    """Write all bytes, in as many steps as the system takes. Raises OSError."""
    while data:
        data = data[os.write(descriptor, data) :]


def _new_part(path: Path) -> int:
    """Return the descriptor of a new, locked part. One that nobody writes any more is removed."""
    while True:
        try:
            descriptor = os.open(path, _NEW, 0o666)
        except FileExistsError:
            _remove_left(path)
            continue
        if lock_if_there(descriptor, path):
            return descriptor


def _remove_left(path: Path) -> None:
    """Remove the part that a killed process left. Raises BlockingIOError where one writes it."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, f"{path.name} is in the way, and is no file")
        if not _MOVES_OPEN_FILES:  # and has no locks
            path.unlink()
            return
        descriptor = os.open(path, _LEFT)
        if lock_if_there(descriptor, path):
            try:
                path.unlink()
            finally:
                os.close(descriptor)
