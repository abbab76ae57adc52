"""Fingerprints of what a run depends on, so that a resumed run is known to be the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from adadecode.engine.runtime.distributed import unpacked


def of_json(value: Any) -> str:
    """Return a 16-digit fingerprint of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


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
