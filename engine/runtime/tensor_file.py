"""Files of tensors (safetensors) that say by a digest over every byte whether they are whole.

The digest stands in the file's own metadata, with what the tensors belong to. So a file that is
torn, changed in any bit, or that of another run is known, whatever its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from adadecode.engine.runtime.fingerprints import of_all_bytes
from adadecode.profiles.atomic_write import write_bytes
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import parse_json, read_bytes

DIGEST = "sha256"
"""The key of the metadata that holds the digest of the rest."""

BESIDE_TENSORS = 2**24
"""Bytes that a file may have beside the numbers of its tensors."""


@dataclass(frozen=True, kw_only=True)
class TensorFile:
    """What a file of tensors holds.

    Attributes:
        tensors: The tensors by name, on the CPU.
        about: What they belong to, the digest left out.
        claimed: The digest that the file carries; None where it carries none.
    """

    tensors: dict[str, torch.Tensor]
    about: dict[str, str]
    claimed: str | None

    def digest(self) -> str:
        """Return the digest that the file must carry to be as it was written."""
        return of_all_bytes(self.tensors, self.about)

    def layouts(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Return the dtype and the shape of every tensor."""
        return {name: (one.dtype, tuple(one.shape)) for name, one in self.tensors.items()}


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, str] | None = None
) -> None:
    """Replace the file at ``path`` by one that holds these tensors.

    Args:
        path: Where to write.
        tensors: The tensors by name, on any device.
        about: What they belong to.

    Raises:
        InputError: The file cannot be written.
    """
    write_bytes(path, tensor_bytes(tensors, about))


def tensor_bytes(
    tensors: Mapping[str, torch.Tensor], about: Mapping[str, str] | None = None
) -> bytes:
    """Return the bytes of the file that `write_tensors` writes."""
    plain = {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
    known = dict(about or {})
    return save(plain, metadata={**known, DIGEST: of_all_bytes(plain, known)})


def read_tensors(
    path: Path, todo: str, *, numbers: int, error: type[InputError] = InputError
) -> TensorFile:
    """Read a file of tensors. Whether it is whole is the caller's to ask.

    Args:
        path: The file.
        todo: What to do about a file that cannot be read, for the message.
        numbers: How many numbers its tensors may have at most: a larger file is not read.
        error: What to raise.

    Raises:
        InputError: It is missing, no regular file, too large, or no file of tensors; of the class
            ``error``.
    """
    data = read_bytes(path, at_most=8 * numbers + BESIDE_TENSORS, error=error)
    try:
        tensors = load(data)
        about = _metadata(data, path)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, InputError) as problem:
        reason = f"{type(problem).__name__}: {problem}"[:300]
        raise error(f"{path} is damaged ({reason}): {todo}") from None
    claimed = about.pop(DIGEST, None)
    return TensorFile(tensors=tensors, about=about, claimed=claimed)


def _metadata(data: bytes, path: Path) -> dict[str, str]:
    """Return the metadata of a file of tensors, which safetensors has found well formed."""
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = parse_json(data[8 : 8 + length].decode(), path)
    return dict(header.get("__metadata__") or {})
