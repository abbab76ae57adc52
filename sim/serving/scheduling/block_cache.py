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
        self._free: OrderedDict[int, None] = OrderedDict()
        # What follows knows the blocks that were ever used; the others are taken first, in order.
        self._users: list[int] = []
        self._content: list[Hashable | None] = []
        self._holders: dict[Hashable, list[int]] = {}

    @property
    def n_free(self) -> int:
        """How many blocks nobody uses."""
        return self.n_blocks - len(self._users) + len(self._free)

    @property
    def n_used(self) -> int:
        """How many blocks are in use."""
        return len(self._users) - len(self._free)

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
        users, content = self._users, self._content
        new = min(count, self.n_blocks - len(users))
        taken = list(range(len(users), len(users) + new))
        users += [1] * new
        content += [None] * new
        for _ in range(count - new):
            block, _ = self._free.popitem(last=False)
            if content[block] is not None:
                self._forget(block)
            users[block] = 1
            taken.append(block)
        return taken

    def give_back(self, blocks: list[int]) -> None:
        """Give up the use of blocks, the last one first, and empty the list."""
        users, free = self._users, self._free
        for block in reversed(blocks):
            users[block] -= 1
            if not users[block]:
                free[block] = None
        blocks.clear()

    def remember(self, block: int, content: Hashable) -> None:
        """Note what a block in use holds, so that it is found."""
        if self.keeps_content and self._content[block] is None:
            self._content[block] = content
            self._holders.setdefault(content, []).append(block)

    def _forget(self, block: int) -> None:
        content = self._content[block]
        self._content[block] = None
        holders = self._holders[content]
        holders.remove(block)
        if not holders:
            del self._holders[content]
