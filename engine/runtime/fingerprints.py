"""Fingerprints of what a run depends on, so that a resumed run is known to be the same one.

`of_weights` looks at a few numbers of every tensor: it tells models apart, and costs nothing. What
is kept on disk and must come back byte for byte has a digest over all of it: `of_all_bytes`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from adadecode.engine.runtime.distributed import unpacked
from adadecode.profiles.digest import canonical_json


def of_json(value: Any) -> str:
    """Return a 16-digit fingerprint of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def of_all_bytes(tensors: Mapping[str, torch.Tensor | None], about: Any = None) -> str:
    """Return the SHA-256 of named tensors: of names, dtypes, shapes and every byte.

    Args:
        tensors: Plain tensors on any device, in any order; None for one that is absent.
        about: What else the digest covers: anything that JSON can carry.

    Returns:
        64 hexadecimal digits.
    """
    state = hashlib.sha256(canonical_json(about, "what belongs to tensors"))
    for name in sorted(tensors):
        tensor = tensors[name]
        layout = None if tensor is None else [str(tensor.dtype), list(tensor.shape)]
        state.update(canonical_json([name, layout], "the name of a tensor"))
        if tensor is not None:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            state.update(flat.view(torch.uint8).numpy().data)
    return state.hexdigest()


def of_tensors(named: Iterable[tuple[str, torch.Tensor | None]]) -> str:
    """Return a fingerprint of a few numbers of every tensor, of which other weights differ."""
    return of_json(
        [(name, *([] if tensor is None else _few(tensor.detach()))) for name, tensor in named]
    )


def _few(tensor: torch.Tensor) -> list[float]:
    """Return some numbers of a tensor, or of the plain ones that a packed one is made of."""
    return [
        number
        for part in unpacked(tensor)
        for number in part.flatten()[:: max(1, part.numel() // 4)].float().tolist()
    ]


def of_weights(model: nn.Module) -> str:
    """Return a fingerprint of a model's parameters."""
    return of_tensors(model.named_parameters())
