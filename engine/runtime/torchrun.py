"""What ``torchrun`` says of the processes that it started; imports nothing, so that a command asks before it loads torch."""

from __future__ import annotations

import os


def launched() -> int:
    """How many processes ``torchrun`` started; 1 without it."""
    count = os.environ.get("WORLD_SIZE", "1")
    return int(count) if count.isdigit() else 1


def rank() -> str:
    """The number of this one among them, from 0 on."""
    return os.environ.get("RANK", "0")
