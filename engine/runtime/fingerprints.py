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
    """Of anything JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def of_tensors(named: Iterable[tuple[str, torch.Tensor | None]]) -> str:
    """Of a few numbers of every tensor: other weights differ in one of them."""
    return of_json(
        [(name, *([] if tensor is None else _few(tensor.detach()))) for name, tensor in named]
    )


def _few(tensor: torch.Tensor) -> list[float]:
    """Some numbers of a tensor, or of those that a packed one is made of."""
    return [
        number
        for part in unpacked(tensor)
        for number in part.flatten()[:: max(1, part.numel() // 4)].float().tolist()
    ]


def of_weights(model: nn.Module) -> str:
    """Of a model's parameters."""
    return of_tensors(model.named_parameters())
