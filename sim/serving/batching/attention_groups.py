"""Which sequences of a batch attend together, by their sizes alone."""

from __future__ import annotations

from typing import NamedTuple

MOST_TOGETHER = 8
"""Rows of one sequence up to which it attends together with others."""


class GroupKey(NamedTuple):
    """What sequences that attend together have in common.

    Attributes:
        prompt: Whether the rows are of prompts.
        size: The power of two that their numbers of blocks do not exceed.
        alone: The place of a sequence that attends by itself; None for several.
    """

    prompt: bool
    size: int
    alone: int | None = None


def group_key(rows: int, n_blocks: int, *, prompt: bool, place: int) -> GroupKey:
    """Return the group of some rows of one sequence.

    Sequences of a few rows stand together where their numbers of blocks are of the same power of
    two, so no more than half of a group is padding. Long chunks of a prompt stand alone.

    Args:
        rows: How many rows there are.
        n_blocks: Blocks that hold all positions up to the last of them.
        prompt: Whether they are of the prompt.
        place: What tells them from others of the batch.
    """
    size = (n_blocks - 1).bit_length()
    return GroupKey(prompt, size, None if rows <= MOST_TOGETHER else place)
