"""Write a folder of files of which one, the seal, says that the others are whole.

A profile is such a folder (its seal is ``manifest.json``), and so are exit heads (``heads.json``).
While one is written, ``SEAL.part`` stands in it. Files that replace others are first written as
``NAME.next``, then the seal is moved to its place, and only then they are. So, wherever a process
is killed or the disk is full:

=======================  =========================================================================
``SEAL.part`` is there   the writing was not finished: ``NAME.next`` counts for nothing; with a seal
                         the older result is whole, without one there is none
it is not                the result is the new one; `member` finds a file that was not moved yet
=======================  =========================================================================

The next process that writes the folder puts it in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from adadecode.profiles.atomic_write import write_bytes, write_stream
from adadecode.profiles.folder_lock import LOCK_FILE, lock_folder
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import sync_folder
from adadecode.profiles.output_path import check_target
from adadecode.profiles.part_file import PartFile, part_of

NEXT_SUFFIX = ".next"
"""What the name of a file ends with that is to replace another when the seal is written."""


def member(folder: Path, seal: str, name: str) -> Path:
    """Return where a file of a sealed folder is.

    Args:
        folder: The folder.
        seal: Name of its seal.
        name: Name of the file.
    """
    following = _next(folder / name)
    return following if following.is_file() and not _unfinished(folder, seal) else folder / name


def is_unused(folder: Path, seal: str, members: Collection[str]) -> bool:
    """Return whether a folder may be taken for a new result.

    It may where it is missing or empty, or holds only what was left by a process that was killed
    while it wrote such a folder.

    Args:
        folder: The folder.
        seal: Name of the seal that is to be written.
        members: Names that the other files may have.

    Raises:
        InputError: If the folder cannot be read.
    """
    with refusing(folder):
        try:
            found = {entry.name for entry in folder.iterdir()} - {LOCK_FILE}
        except FileNotFoundError:
            return True
        except NotADirectoryError:
            return False
    if part_of(folder / seal).name not in found:
        return not found
    names = {seal, *members}
    return found <= {*names, *(part_of(folder / name).name for name in names)} - {seal}


@contextmanager
def sealing(folder: Path, seal: str, members: Collection[str]) -> Iterator[SealedFolder]:
    """Write a folder of files, or replace those of an older one: all of them or none.

    The folder is made where it is missing, and locked meanwhile. Where the block is left without a
    seal, what it wrote is removed, and an older result is as it was.

    Args:
        folder: The folder.
        seal: Name of the file that is written last.
        members: Names that the other files may have. Those that are not written are removed.

    Yields:
        What takes the files.

    Raises:
        InputError: If another process writes into the folder, or it cannot be written into.
    """
    with lock_folder(folder), SealedFolder(folder, seal, members) as files:
        yield files


class SealedFolder:
    """A folder that is being written, see `sealing`.

    Args:
        folder: The folder, which this thread holds.
        seal: Name of the file that is written last.
        members: Names that the other files may have.

    Raises:
        InputError: If it cannot be written into.
    """

    def __init__(self, folder: Path, seal: str, members: Collection[str]) -> None:
        self.folder, self.members = folder, tuple(members)
        self._written: list[Path] = []
        check_target(folder / seal)
        with refusing(folder / seal):
            self._settle(seal)
            self._replaces = (folder / seal).exists()
            self._seal = PartFile(folder / seal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            if _unfinished(self.folder, self._seal.place.name):
                for path in self._written:
                    path.unlink(missing_ok=True)
            else:
                self._put_in_place()
        self._seal.close()

    def write(self, name: str, data: bytes) -> None:
        """Write a file that holds these bytes. Raises InputError."""
        write_bytes(self._path(name), data)

    def write_stream(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Write a file by a callback, which is given it open for writing. Raises InputError."""
        write_stream(self._path(name), write)

    def finish(self, seal: bytes) -> None:
        """Write the seal, which makes all of this the result. Nothing is written afterwards.

        Args:
            seal: What the seal holds.

        Raises:
            InputError: If it cannot be written; the older result is then as it was, unless only
                syncing the folder failed.
        """
        with refusing(self._seal.place):
            self._seal.write(seal)
            self._seal.sync()
            self._seal.move()

    def _path(self, name: str) -> Path:
        """Return where a member is written, and remember it."""
        place = self.folder / name
        check_target(place)
        path = _next(place) if self._replaces else place
        self._written.append(path)
        return path

    def _put_in_place(self) -> None:
        """Move what was written, and remove what the older result had besides.

        What this leaves undone, `member` allows for.
        """
        names = {path.name.removesuffix(NEXT_SUFFIX) for path in self._written}
        for path in self._written:
            _move(path)
        for name in self.members:
            if name not in names:
                (self.folder / name).unlink(missing_ok=True)
        sync_folder(self.folder)

    def _settle(self, seal: str) -> None:
        """Put in order what a killed process left."""
        places = [self.folder / name for name in self.members]
        if not _unfinished(self.folder, seal):
            for place in places:
                if _next(place).is_file():
                    _move(_next(place))
            return
        for place in places:
            for left in (_next(place), part_of(_next(place)), part_of(place)):
                left.unlink(missing_ok=True)
            if not (self.folder / seal).exists():
                place.unlink(missing_ok=True)


def _unfinished(folder: Path, seal: str) -> bool:
    return part_of(folder / seal).exists()


def _next(place: Path) -> Path:
    return place.with_name(place.name + NEXT_SUFFIX)


def _move(path: Path) -> None:
    """Move a file that is to replace another to its place."""
    if path.name.endswith(NEXT_SUFFIX):
        os.replace(path, path.with_name(path.name.removesuffix(NEXT_SUFFIX)))  # noqa: PTH105
