"""Changes of bytes, and of what stands in the place of a file."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

BYTES = ("flip", "truncate", "insert", "zeros", "append", "twice")

PLACES = (
    *("missing", "empty", "pipe", "directory", "link to itself", "link to nothing"),
    *("link to a copy", "link to zeros", "sparse"),
)

SPARSE = 8 * 2**30
"""Bytes of a file that takes no place on the disk."""


def draw(source: random.Random, size: int) -> tuple[str, tuple[Any, ...], Any]:
    """Draw a change of a file of this many bytes."""
    if source.random() < 0.3:
        return f"file {source.choice(PLACES)}", (), None
    change = source.choice(BYTES)
    offset = source.randrange(size + 1)
    value = {
        "flip": source.randrange(8),
        "insert": source.randbytes(source.choice((1, 4, 64))).hex(),
        "zeros": source.choice((1, 8, 512)),
        "append": source.randbytes(16).hex(),
    }.get(change)
    return f"bytes {change}", (offset,), value


def apply_bytes(change: str, data: bytes, at: tuple[Any, ...], value: Any) -> bytes:  # noqa: ANN401
    """Return bytes changed."""
    kind, offset = change.removeprefix("bytes "), min(at[0], len(data))
    if kind == "flip" and data:
        offset %= len(data)
        return data[:offset] + bytes([data[offset] ^ (1 << value)]) + data[offset + 1 :]
    if kind == "truncate":
        return data[:offset]
    if kind == "insert":
        return data[:offset] + bytes.fromhex(value) + data[offset:]
    if kind == "zeros":
        return (data[:offset] + bytes(value) + data[offset + value :])[: max(len(data), 1)]
    return data + (bytes.fromhex(value) if kind == "append" else data)


def apply_place(change: str, path: Path) -> None:
    """Put something else in the place of a file."""
    kind = change.removeprefix("file ")
    data = path.read_bytes() if path.is_file() else b""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "link to nothing":
        path.symlink_to("nowhere")
    elif kind == "link to a copy":
        copy = path.with_name(f"{path.name}.copy")
        copy.write_bytes(data)
        path.symlink_to(copy.name)
    elif kind == "link to zeros":
        path.symlink_to("/dev/zero")
    elif kind == "sparse":
        path.write_bytes(data)
        os.truncate(path, SPARSE)
