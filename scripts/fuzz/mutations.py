"""Draw changes of a file by what it holds, and apply them."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from scripts.fuzz import (
    byte_changes,
    json_changes,
    safetensors_changes,
    table_changes,
    text_changes,
)
from scripts.fuzz.reader import ARGUMENTS
from scripts.fuzz.recipe import Mutation

_Change = tuple[str, tuple[Any, ...], Any]
"""Its name, where, and a value."""

BYTES_SHARE = 0.25
"""How many changes take a file as bytes, whatever it holds."""


_DIGEST = re.compile(r"[0-9a-f]{64}")
"""Part of a file's name that differs between versions of the program."""

LARGEST = 2**28
"""Bytes of the largest file that is changed once more."""


def draw(source: random.Random, folder: Path, name: str) -> Mutation:
    """Draw a change of a file.

    Args:
        source: Of random numbers.
        folder: Of the case, its files unchanged.
        name: Of the file.
    """
    data = (folder / name).read_bytes()
    found = None
    if name.startswith(f"{ARGUMENTS}/"):
        found = text_changes.draw(source, data.decode())
    elif data and source.random() >= BYTES_SHARE:
        found = _structured(source, data, name)
    if found is None:
        found = byte_changes.draw(source, len(data))
    change, at, value = found
    return Mutation(change=change, file=_DIGEST.sub("*", name), at=at, value=value)


def _structured(source: random.Random, data: bytes, name: str) -> _Change | None:
    """Draw a change of what a file holds; None where there is nothing to change."""
    name = name.removesuffix(".part")
    if name.endswith(".done") and data[:1] == b"{":
        return json_changes.draw(source, json_changes.load(data, name))
    if name.endswith((".json", ".jsonl")):
        return json_changes.draw(source, json_changes.load(data, name))
    if name.endswith(".parquet"):
        return table_changes.draw(source, table_changes.load(data))
    if name.endswith(".safetensors"):
        return safetensors_changes.draw(source, data)
    return text_changes.draw(source, data.decode("utf-8", "surrogateescape"))


def apply(mutation: Mutation, folder: Path) -> bool:
    """Change a file of a case; return whether it could be changed so.

    An earlier change of the same file may have taken away what this one changes.
    """
    path = next(iter(sorted(folder.glob(mutation.file))), folder / mutation.file)
    if mutation.change.startswith("file "):
        byte_changes.apply_place(mutation.change, path)
        return True
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > LARGEST):
            return False  # a pipe would be waited for
        data = path.read_bytes() if path.exists() else b""
        path.write_bytes(_changed(mutation, data))
    except Exception:  # noqa: BLE001 - a damaged file makes libraries raise anything
        return False
    return True


def _changed(mutation: Mutation, data: bytes) -> bytes:
    change, at, value = mutation.change, mutation.at, mutation.value
    kind = change.partition(" ")[0]
    if kind == "bytes":
        return byte_changes.apply_bytes(change, data, at, value)
    if kind == "json":
        document = json_changes.load(data, mutation.file)
        json_changes.apply(change, document, at, value)
        return json_changes.dump(document, mutation.file)
    if kind in {"table", "rows", "column"}:
        return table_changes.apply(change, table_changes.load(data), at, value)
    if kind in {"header", "tensor"}:
        return safetensors_changes.apply(change, data, at, value)
    text = text_changes.apply(change, data.decode("utf-8", "surrogateescape"), at, value)
    return text.encode("utf-8", "surrogatepass")
