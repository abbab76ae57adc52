"""Changes of safetensors files: their header, which is JSON, and the numbers of one tensor."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

from scripts.fuzz import json_changes

_FORMATS = {"F16": "<e", "F32": "<f", "F64": "<d", "I32": "<i", "I64": "<q", "BF16": "<H"}


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def draw(source: random.Random, data: bytes) -> tuple[str, tuple[Any, ...], Any]:
    """Draw a change of a file: its name, where, and a value."""
    header, _ = _split(data)
    if source.random() < 0.4:
        found = json_changes.draw(source, header)
        if found is not None:
            return f"header {found[0]}", found[1], found[2]
    names = [name for name in header if name != "__metadata__"]
    name = source.choice(names)
    begin, end = header[name]["data_offsets"]
    change = source.choice(("flip", "flip", "number", "zeros", "swap"))
    value: Any = {
        "flip": lambda: source.randrange(8),
        "number": lambda: source.choice((0.0, -1.0, 1e4, float("nan"), float("inf"))),
        "swap": lambda: source.choice(names),
    }.get(change, lambda: None)()
    return f"tensor {change}", (name, source.randrange(max(1, end - begin))), value


def apply(change: str, data: bytes, at: tuple[Any, ...], value: Any) -> bytes:  # noqa: ANN401
    """Return a file changed.

    Raises:
        LookupError: If there is no such tensor.
    """
    header, body = _split(data)
    if change.startswith("header "):
        json_changes.apply(change.removeprefix("header "), header, at, value)
        return _joined(json_changes.dump(header, "header"), body)
    begin, end = header[at[0]]["data_offsets"]
    tensor = bytearray(body[begin:end])
    kind = change.removeprefix("tensor ")
    if kind == "flip":
        tensor[at[1] % len(tensor)] ^= 1 << value
    elif kind == "zeros":
        tensor[:] = bytes(len(tensor))
    elif kind == "number":
        form = _FORMATS[header[at[0]]["dtype"]]
        size = struct.calcsize(form)
        number = value if form[1] in "efd" else int(value)
        struct.pack_into(form, tensor, at[1] // size * size, number)
    else:
        other_begin, other_end = header[value]["data_offsets"]
        other = body[other_begin:other_end]
        tensor[:] = (other * (1 + len(tensor) // max(1, len(other))))[: len(tensor)]
    return _joined(json_changes.dump(header, "header"), body[:begin] + bytes(tensor) + body[end:])
