"""How much memory of a device is free."""

from __future__ import annotations

import torch

from adadecode.profiles.host import free_memory


def free_bytes(device: torch.device, *, with_cache: bool = False) -> int | None:
    """Return the bytes that this program can still take on a device; None where unknown.

    Args:
        device: A CPU or a CUDA device.
        with_cache: Whether to add what torch holds of a GPU without using it now.
    """
    if device.type != "cuda":
        return free_memory()
    free = int(torch.cuda.mem_get_info(device)[0])
    if with_cache:
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free
