"""The memory of keys and values as a number of blocks, each of some positions of one sequence."""

from __future__ import annotations

from collections import deque

from adadecode.profiles.errors import InputError
from adadecode.sim.core.scalars import whole_number

DEFAULT_BLOCK_SIZE = 16
"""Positions of a block, as most servers have it."""


class BlockPool:
    """Blocks of keys and values, handed out by number.

    Args:
        n_blocks: Blocks in all.
        block_size: Positions of a block.

    Raises:
        InputError: One of them is no whole number from 1 on.
    """

    def __init__(self, n_blocks: int, block_size: int = DEFAULT_BLOCK_SIZE) -> None:
        self.n_blocks = checked_count("kv_blocks", n_blocks)
        self.block_size = checked_count("block_size", block_size)
        self._unused = 0  # this one and all after it were never taken
        self._returned: deque[int] = deque()

    @property
    def free(self) -> int:
        """How many blocks nobody holds."""
        return self.n_blocks - self._unused + len(self._returned)

    def blocks_of(self, positions: int) -> int:
        """Return how many blocks hold so many positions."""
        return -(-positions // self.block_size)

    def take(self, count: int) -> list[int]:
        """Return the numbers of ``count`` free blocks, which must be there."""
        assert count <= self.free
        return [self._one() for _ in range(count)]

    def give_back(self, blocks: list[int]) -> None:
        """Take blocks back, and empty the list of whoever held them."""
        self._returned.extend(blocks)
        blocks.clear()

    def _one(self) -> int:
        """Return the block that was given back first, or one that was never taken."""
        if self._returned:
            return self._returned.popleft()
        self._unused += 1
        return self._unused - 1


def checked_count(name: str, given: object) -> int:
    """Return a number as an int. Raises InputError unless it is a whole one from 1 on."""
    count = whole_number(given)
    if count is None or count < 1:
        raise InputError(f"wanted {name} as a whole number from 1 on, got {given!r}: give an int")
    return count
