"""Whether the safetensors of a folder are all there and whole, found out before they are read."""

from __future__ import annotations

import struct
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there, parse_json, read_json

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"

_LONGEST_HEAD = 2**27
"""Bytes of the longest head that is read."""


def check_weights(folder: Path) -> None:
    """Refuse a folder in which a file of weights is missing or ends too early.

    A folder without safetensors passes: loading will say what is wrong.

    Raises:
        InputError: The index is none, a file that it names is missing, or one is cut short.
    """
    names = _named(folder)
    missing = [name for name in names if not is_there(folder / name)]
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise InputError(
            f"{folder} lacks {len(missing)} of the {len(names)} files of weights that its {INDEX} "
            f"names ({shown}): copy them"
        )
    for name in names:
        check_whole(folder / name)


def _named(folder: Path) -> list[str]:
    """Return the names of the files of weights in a folder."""
    if is_there(folder / WHOLE):
        return [WHOLE]
    if not is_there(folder / INDEX):
        return []
    index = read_json(folder / INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(
        isinstance(name, str) and Path(name).name == name for name in places.values()
    ):
        raise InputError(
            f"wanted a weight_map of tensors and files in {folder / INDEX}: copy it again"
        )
    return sorted(set(places.values()))


def check_whole(path: Path) -> None:
    """Refuse a file of tensors that is shorter or longer than its head says.

    Raises:
        InputError: It is, or its head cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(8)
            length = struct.unpack("<Q", begin)[0] if len(begin) == 8 else _LONGEST_HEAD
            text = file.read(length) if length < min(size, _LONGEST_HEAD) else b""
    except OSError as problem:
        raise InputError(f"cannot read {path} ({problem.strerror}): copy it again") from None
    try:
        head = parse_json(text.decode(), path)
        ends = [one["data_offsets"][1] for name, one in head.items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except (InputError, UnicodeDecodeError, AttributeError, LookupError, TypeError):
        raise InputError(f"{path} is damaged: copy it again") from None
    if wanted != size:
        raise InputError(f"{path} has {size:,} bytes, wanted {wanted:,}: copy it again")
