"""Sizes of static passes: rows and buckets that tokens and positions are padded to."""

from __future__ import annotations

import torch
from torch.nn import functional as F

SIZES = (1, 2, 4, 8)
"""Rows of a static pass."""
SPARE = SIZES[-1] - 1
"""Slots beyond the last position, for padding rows."""


def size_of(n: int) -> int:
    """Return the rows that n <= 8 tokens are padded to."""
    return next(size for size in SIZES if size >= n)


def padded(hidden: torch.Tensor) -> torch.Tensor:
    """Pad hidden states ``(1, n, d)``, n <= 8, to the rows of their pass."""
    n = hidden.shape[1]
    return hidden if size_of(n) == n else F.pad(hidden, (0, 0, 0, size_of(n) - n))


def bucket_of(stop: int, slots: int, *, doubling: bool) -> int:
    """Return how many slots are attended over.

    Args:
        stop: How many are needed.
        slots: How many there are.
        doubling: Whether to take a power of two from 128 on, not a multiple of 64.
    """
    if doubling:
        return min(slots, max(128, 1 << (stop - 1).bit_length()))
    return min(slots, -(-stop // 64) * 64)
