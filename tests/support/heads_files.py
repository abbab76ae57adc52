"""Change the files of exit heads without their writer, for tests of damaged heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from adadecode.engine.heads.heads_description import CONFIG, WEIGHTS_DIGEST, sealed_description
from adadecode.engine.heads.heads_file import WEIGHTS
from adadecode.engine.runtime.fingerprints import of_all_bytes
from adadecode.profiles.digest import SEAL
from tests.support.tampering import edit_json


def edit_description(
    folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True
) -> None:
    """Change ``heads.json``.

    Args:
        folder: Of the heads.
        change: Called with the description, which it changes in place.
        seal: Whether the seal is made to fit the change, where JSON can carry it.
    """
    edit_json(folder / CONFIG, change, sealed_description if seal else None)


def replace_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors, and make digest and seal fit."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    edit_description(
        folder, lambda found: found.update({WEIGHTS_DIGEST: of_all_bytes(tensors, {})})
    )


def as_format(folder: Path, version: int, *, without: tuple[str, ...] = ()) -> None:
    """Make ``heads.json`` one of an earlier format, which carries no digests."""

    def earlier(description: dict[str, Any]) -> None:
        for key in (SEAL, WEIGHTS_DIGEST, *without):
            description.pop(key, None)
        description["format"] = version

    edit_description(folder, earlier, seal=False)


def same_matrices(
    one: Mapping[int, torch.Tensor | None], other: Mapping[int, torch.Tensor | None]
) -> bool:
    """Whether two sets of heads have the same matrices at the same depths, bit for bit."""
    return one.keys() == other.keys() and all(
        (matrix is None) == (other[depth] is None)
        and (matrix is None or torch.equal(matrix, other[depth]))
        for depth, matrix in one.items()
    )
