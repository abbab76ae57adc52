"""The environment variables that ``torchrun`` sets for the processes it starts.

This imports nothing, so that a command may use it before it loads torch.
"""

from __future__ import annotations

import os


def launched() -> int:
    """Return how many processes ``torchrun`` started; 1 without it."""
    count = os.environ.get("WORLD_SIZE", "1")
    return int(count) if count.isdigit() else 1


def rank() -> str:
    """Return the number of this process among them, from 0 on."""
    return os.environ.get("RANK", "0")
