"""Whether the safetensors of a folder are all there and whole, found out before they are read."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there, parse_json, read_json

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"

_SCALES = ("_scale_inv", "_scale")

_LONGEST_HEAD = 2**27
"""Bytes of the longest head that is read."""


def check_weights(folder: Path, *, scaled: bool = False) -> None:
    """Refuse a folder in which a file of weights is missing or ends too early.

    A folder without safetensors passes, as does a name on the hub: loading will say what is wrong.

    Args:
        folder: The folder.
        scaled: Whether every tensor of 8-bit floats must have its scales.

    Raises:
        InputError: The index is none, a file that it names is missing, or one is cut short; or
            scales are missing.
    """
    names = _named(folder)
    missing = [name for name in names if not is_there(folder / name)]
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise InputError(
            f"{folder} lacks {len(missing)} of the {len(names)} files of weights that its {INDEX} "
            f"names ({shown}): copy them"
        )
    dtypes: dict[str, str] = {}
    for name in names:
        dtypes |= check_whole(folder / name)
    if scaled:
        _check_scales(dtypes, folder)


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


def _check_scales(dtypes: Mapping[str, str], folder: Path) -> None:
    """Refuse 8-bit floats without scales, which would be taken for weights as they are."""
    bare = [
        name
        for name, dtype in dtypes.items()
        if dtype.startswith("F8_E4M3") and not any(f"{name}{end}" in dtypes for end in _SCALES)
    ]
    if bare:
        raise InputError(
            f"the weights {bare[0]} and {len(bare) - 1} more of {folder} are 8-bit floats without "
            "their scales: copy the checkpoint again"
        )


def check_whole(path: Path) -> dict[str, str]:
    """Refuse a file of tensors that is shorter or longer than its head says.

    Returns:
        The dtypes of its tensors, as the file has them.

    Raises:
        InputError: It is, or its head cannot be read.
    """
    if not path.is_file():  # opening a pipe that nobody writes to would never return
        raise InputError(f"wanted a regular file, got something else in {path}: copy it again")
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
    return {name: str(one.get("dtype")) for name, one in head.items() if name != "__metadata__"}
