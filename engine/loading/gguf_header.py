"""What a GGUF file says of itself: its architecture, its settings and its tensors.

Only the head of the file is read, within its bounds, so that a file which is cut short, or none of
this kind, is refused in one sentence before a library is given it.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError

MAGIC = b"GGUF"
SUFFIX = ".gguf"
VERSIONS = (2, 3)
ALIGNMENT = 32
"""Where data begins, in bytes, unless the file says otherwise."""

_MOST = 2**24
"""More entries, dimensions or characters than a head of a file has."""

_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_TEXT, _LIST = 8, 9
_FLOATS = 0
"""The number of the format of single-precision numbers."""
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


@dataclass(frozen=True, kw_only=True)
class GgufTensor:
    """A tensor of a GGUF file.

    Attributes:
        name: Its name, as llama.cpp has it.
        shape: Its sizes, the fastest first.
        kind: The number of its format.
        offset: Where it begins, in bytes after the head.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """The head of a GGUF file.

    Attributes:
        path: The file.
        settings: What it says, by key. Of a list, only numbers are kept; of texts, their count.
        tensors: Its tensors, in their order.
    """

    path: Path
    settings: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str:
        """The architecture, as llama.cpp calls it."""
        return str(self.settings.get("general.architecture"))

    @property
    def numbers(self) -> int:
        """How many numbers its tensors have together."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def data_begins(self) -> int:
        """Where the data of the tensors begins, in bytes.

        Raises:
            InputError: The alignment is none.
        """
        align = self.settings.get("general.alignment", ALIGNMENT)
        if not isinstance(align, int) or align < 1:
            raise InputError(
                f"{self.path} is damaged: its data is aligned to {align!r}: copy it again"
            )
        return int(-(-self.settings["head.bytes"] // align) * align)

    def floats(self, name: str) -> NDArray[np.float32] | None:
        """Return a tensor of one row in single precision; None where there is none of this name.

        Raises:
            InputError: It is of another form.
        """
        tensor = next((one for one in self.tensors if one.name == name), None)
        if tensor is None:
            return None
        if tensor.kind != _FLOATS or len(tensor.shape) != 1:
            raise InputError(
                f"wanted the tensor {name} of {self.path} as one row in single precision: convert "
                "the model again"
            )
        with self.path.open("rb") as file:
            file.seek(self.data_begins + tensor.offset)
            return np.frombuffer(file.read(4 * tensor.shape[0]), dtype="<f4")

    def formats(self) -> list[str]:
        """Return the names of the formats of its tensors, the one with most numbers first."""
        names = {int(kind): kind.name for kind in _block_sizes()}
        count: Counter[int] = Counter()
        for tensor in self.tensors:
            count[tensor.kind] += prod(tensor.shape)
        return [names[kind] for kind, _ in count.most_common()]


def is_gguf(path: str | Path) -> bool:
    """Return whether a path leads to a file that is, or is called, a GGUF file."""
    place = Path(path)
    try:
        if not place.is_file():
            return False
        with place.open("rb") as file:
            return place.suffix == SUFFIX or file.read(4) == MAGIC
    except (OSError, ValueError):
        return False


def read_header(path: Path) -> GgufHeader:
    """Read the head of a GGUF file.

    Raises:
        InputError: It is no GGUF file, of another version, cut short, or one part of several.
    """
    if not is_gguf(path):
        raise InputError(f"no GGUF file {path}: check the name")
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            header = _parsed(_Cursor(data, path), path)
            size = len(data)
    except (OSError, ValueError) as problem:  # an empty file cannot be mapped
        raise InputError(f"cannot read {path} ({problem}): copy it again") from None
    _check_whole(header, size)
    return header


class _Cursor:
    """A place in the bytes of a file, which does not leave it."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.place = data, path, 0

    def bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        end = self.place + count
        if end > len(self.data):
            raise _cut_short(self.path)
        found = self.data[self.place : end]
        self.place = end
        return found

    def number(self, form: str) -> Any:
        """Return the next number of a form of `struct`, least byte first."""
        return struct.unpack(f"<{form}", self.bytes(struct.calcsize(form)))[0]

    def count(self, form: str = "Q") -> int:
        """Return the next number, which counts something in the head."""
        found: int = self.number(form)
        if found > _MOST:
            raise InputError(
                f"{self.path} is damaged: its head counts {found:,} of something: copy it again"
            )
        return found

    def text(self) -> str:
        """Return the next text."""
        return self.bytes(self.count()).decode(errors="replace")

    def value(self, kind: int) -> Any:
        """Return the next value of this kind; of a list of texts, how many they are."""
        if kind == _TEXT:
            return self.text()
        if kind != _LIST:
            return self.number(self._form(kind))
        inner, count = self.number("I"), self.count()
        if inner == _TEXT:
            for _ in range(count):
                self.text()
            return count
        form = f"{count}{self._form(inner)}"
        return list(struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}"))))

    def _form(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise InputError(f"{self.path} is damaged: a value is of kind {kind}: copy it again")
        return _NUMBERS[kind]


def _parsed(cursor: _Cursor, path: Path) -> GgufHeader:
    """Return the head at the beginning of a file's bytes."""
    if cursor.bytes(4) != MAGIC:
        raise InputError(f"{path} is no GGUF file, whatever its name: name another one")
    version = cursor.number("I")
    if version not in VERSIONS:
        raise InputError(
            f"{path} is a GGUF file of version {version}, wanted one of {list(VERSIONS)}: convert "
            "it again"
        )
    n_tensors, n_settings = cursor.count(), cursor.count()
    settings = {}
    for _ in range(n_settings):
        key = cursor.text()
        settings[key] = cursor.value(cursor.number("I"))
    tensors = []
    for _ in range(n_tensors):
        name = cursor.text()
        shape = tuple(cursor.number("Q") for _ in range(cursor.count("I")))
        tensors.append(
            GgufTensor(name=name, shape=shape, kind=cursor.number("I"), offset=cursor.number("Q"))
        )
    settings["head.bytes"] = cursor.place
    return GgufHeader(path=path, settings=settings, tensors=tuple(tensors))


def _check_whole(header: GgufHeader, size: int) -> None:
    """Refuse a file that ends before its tensors do, or that is one of several."""
    path = header.path
    parts = header.settings.get("split.count", 0)
    if (isinstance(parts, int) and parts > 1) or _PART.search(path.name):
        raise InputError(
            f"{path} is one of {parts or 'several'} parts of a GGUF file, which transformers does "
            "not read: put them together with llama-gguf-split --merge"
        )
    known = {int(kind): sizes for kind, sizes in _block_sizes().items()}
    begin = header.data_begins
    for tensor in header.tensors:
        if tensor.kind not in known:
            raise InputError(
                f"the tensor {tensor.name} of {path} has the format {tensor.kind}, which the "
                f"package gguf here does not know: upgrade gguf, or convert the model again"
            )
        block, wide = known[tensor.kind]
        if begin + tensor.offset + prod(tensor.shape) // block * wide > size:
            raise _cut_short(path)


def _cut_short(path: Path) -> InputError:
    return InputError(f"{path} is cut short: copy it again")


def _block_sizes() -> dict[Any, tuple[int, int]]:
    """Return how many numbers a block of each format holds, and how many bytes it takes.

    Raises:
        InputError: The package that knows it is not installed.
    """
    try:
        from gguf import GGML_QUANT_SIZES
    except ImportError:
        raise InputError(
            "reading a GGUF file takes the package gguf: install it, or adadecode[engine] again"
        ) from None
    return GGML_QUANT_SIZES
