"""What a model spread over processes or devices needs: whole tensors where their parts are asked for, and one process that writes.

Tensor parallelism is ``transformers``' own (a ``tp_plan``, under ``torchrun``): every process runs the same decoder, sees the same whole logits, and so
takes the same decisions.
"""

from __future__ import annotations

import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from profiles.errors import InputError


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or all of one that is sharded over processes; they must all ask for it. Raises InputError where it is offloaded."""
    if tensor.is_meta:
        raise InputError("some of the model's weights are not in memory but offloaded: load the model whole, onto devices that hold it")
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def processes() -> int:
    """How many processes share the model: 1 where there is no process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
