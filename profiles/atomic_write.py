"""Write files so that a reader sees a whole one or none. Every output is written here.

The data goes into ``NAME.part`` in the same folder, which is locked meanwhile, is synced to the
disk and then moved; the folder is synced too. Whatever happens on the way, the file that was there
before stays as it was, and the part is removed. What a killed process left is removed by the next
one that writes the same file.

======================  ==========================================================================
`write_bytes`           bytes
`write_text`            text, encoded as UTF-8
`write_json`            anything JSON can hold, with a line feed at the end
`write_stream`          whatever a callback writes into an open file (a library's own ``save``)
`write_together`        several files: none is replaced before all are on the disk
`append_text`           text at the end of a file, whole or not at all
======================  ==========================================================================

All of them create the folder where it is missing, and raise `InputError` where a file cannot be
written. They never write through a link. The standard output and error (``/dev/stdout``,
``/dev/fd/N``) and the null device are written to directly; other devices and pipes are refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import make_parents, remove_empty, sync_folder
from adadecode.profiles.output_path import check_target
from adadecode.profiles.output_stream import is_stream, open_stream
from adadecode.profiles.part_file import PartFile, write_all

_APPEND = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file at ``path`` by one that holds these bytes.

    Raises:
        InputError: If the file cannot be written.
    """
    write_stream(path, partial(_write, data))


def write_text(path: Path, text: str) -> None:
    """Replace the file at ``path`` by one that holds this text in UTF-8.

    Raises:
        InputError: If the file cannot be written.
    """
    write_bytes(path, _utf8(text))


def write_json(path: Path, value: object, *, indent: int | None = 1) -> None:
    """Replace the file at ``path`` by one that holds this value as JSON.

    Args:
        path: Where to write.
        value: Anything that ``json.dumps`` takes.
        indent: Spaces a level; None for a single line.

    Raises:
        InputError: If the file cannot be written.
    """
    write_bytes(path, json_bytes(value, indent=indent))


def json_bytes(value: object, *, indent: int | None = 1) -> bytes:
    """Return what `write_json` writes."""
    return _utf8(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def write_stream(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace the file at ``path`` by one that a callback writes.

    Args:
        path: Where the file is to stand in the end.
        write: Called once with a file that is open for writing, in which it may seek. What it
            raises passes through, and the file that was there before stays.

    Raises:
        InputError: If the operating system refuses: no room, no permission, a file in the place of
            a folder.
    """
    with ExitStack() as stack:
        move = _staged(stack, path, write)
        with refusing(path):
            move()


def write_together(files: Mapping[Path, str | bytes]) -> None:
    """Replace several files. All are written and synced before the first is replaced.

    Args:
        files: What each is to hold; text is encoded as UTF-8.

    Raises:
        InputError: If one cannot be written. Then none was replaced, unless a move failed. From
            the first move on all are moved, even where one fails or the user interrupts it.
    """
    with ExitStack() as stack:
        moves = {}
        for path, content in files.items():
            data = _utf8(content) if isinstance(content, str) else content
            moves[path] = _staged(stack, path, partial(_write, data))
        _move_all(moves)


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a file, which is made where it is missing; sync it.

    Where that fails, the file ends as it did before. A process that is killed on the way may leave
    a part of the text.

    Raises:
        InputError: If it cannot be written.
    """
    check_target(path)
    with refusing(path):
        make_parents(path)
        descriptor = os.open(path, _APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, memoryview(_utf8(text)))
                os.fsync(descriptor)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if not size:
            sync_folder(path.parent)


def _utf8(text: str) -> bytes:
    """Return text as UTF-8; what is no character, half of a pair, is written as its escape."""
    return text.encode(errors="backslashreplace")


def _write(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _staged(
    stack: ExitStack, path: Path, write: Callable[[BinaryIO], object]
) -> Callable[[], object]:
    """Write and sync the part of a file, or write to a stream, and return what ends it.

    Args:
        stack: Removes the part where it is not moved.
        path: Where the file is to stand.
        write: Writes into the part.

    Returns:
        Moves the part to its place.

    Raises:
        InputError: If it cannot be written.
    """
    with refusing(path):
        if is_stream(path):
            with open_stream(path) as stream:
                write(stream)
            return lambda: None
        check_target(path)
        stack.callback(remove_empty, make_parents(path))
        part = stack.enter_context(PartFile(path))
        try:
            write(cast("BinaryIO", part))
        except Exception as error:
            if part.failure is not None:
                raise part.failure from error
            raise
        part.sync()
    return part.move


def _move_all(moves: Mapping[Path, Callable[[], object]]) -> None:
    left = dict(moves)
    try:
        for path, move in moves.items():
            with refusing(path):
                move()
            del left[path]
    finally:
        for move in left.values():
            with suppress(OSError):
                move()
