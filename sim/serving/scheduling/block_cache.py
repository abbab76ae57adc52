"""The memory of keys and values: blocks of some positions each, and what is still in them.

A block that nobody uses any more keeps its content until it is taken for something else, the least
recently freed one first. A prompt that begins with the same content uses it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence


class BlockCache:
    """Blocks of keys and values.

    Args:
        n_blocks: Blocks that requests can have.
        keeps_content: Whether content is kept and shared (prefix caching).
    """

    def __init__(self, n_blocks: int, *, keeps_content: bool) -> None:
        self.n_blocks = n_blocks
        self.keeps_content = keeps_content
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(n_blocks))
        self._users = [0] * n_blocks
        self._content: list[Hashable | None] = [None] * n_blocks
        self._holders: dict[Hashable, list[int]] = {}

    @property
    def n_free(self) -> int:
        """How many blocks nobody uses."""
        return len(self._free)

    @property
    def n_used(self) -> int:
        """How many blocks are in use."""
        return self.n_blocks - len(self._free)

    def find(self, contents: Iterator[Hashable]) -> list[int]:
        """Return the blocks that hold the first of some contents, as far as they are there."""
        found: list[int] = []
        if self.keeps_content:
            for content in contents:
                holders = self._holders.get(content)
                if holders is None:
                    break
                found.append(holders[0])
        return found

    def n_idle(self, blocks: Sequence[int]) -> int:
        """Return how many of some blocks nobody uses: to use them makes them less free."""
        return sum(not self._users[block] for block in blocks)

    def use(self, blocks: Sequence[int]) -> None:
        """Use blocks that hold the right content, with whoever uses them already."""
        for block in blocks:
            if not self._users[block]:
                del self._free[block]
            self._users[block] += 1

    def take(self, count: int) -> list[int]:
        """Return blocks for new content, the least recently freed ones, which must be there."""
        taken = []
        for _ in range(count):
            block, _ = self._free.popitem(last=False)
            self._forget(block)
            self._users[block] = 1
            taken.append(block)
        return taken

    def give_back(self, blocks: list[int]) -> None:
        """Give up the use of blocks, the last one first, and empty the list."""
        while blocks:
            block = blocks.pop()
            self._users[block] -= 1
            if not self._users[block]:
                self._free[block] = None

    def remember(self, block: int, content: Hashable) -> None:
        """Note what a block in use holds, so that it is found."""
        if self.keeps_content and self._content[block] is None:
            self._content[block] = content
            self._holders.setdefault(content, []).append(block)

    def _forget(self, block: int) -> None:
        content = self._content[block]
        if content is not None:
            self._content[block] = None
            holders = self._holders[content]
            holders.remove(block)
            if not holders:
                del self._holders[content]
