"""Ids of the blocks of prompts, for a server whose blocks have another size than the file's.

An id of a file stands for its block and everything before it. So the id of the block in which a
block of the server ends, with the place where it ends, stands for that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from adadecode.profiles.errors import InputError

Ids = Sequence[int]
"""Ids of the blocks of one prompt, as a file has them."""


class PromptBlocks:
    """Gives prompts the ids of the server's blocks.

    Args:
        file_size: Tokens of a block of the file.
        size: Tokens of a block of the server.
    """

    def __init__(self, file_size: int, size: int) -> None:
        self.file_size = file_size
        self.size = size
        self._fresh: Iterator[int] = count(-1, -1)

    def of(self, ids: Ids, n_prompt: int) -> tuple[int, ...]:
        """Return one id for each whole block of a prompt.

        What the file has no id for is like no other prompt, and gets a new id below 0.

        Args:
            ids: The ids of the file.
            n_prompt: Tokens of the prompt.
        """
        whole = n_prompt // self.size
        if self.size == self.file_size:
            known = tuple(ids[:whole])
        else:
            ends = range(self.size - 1, whole * self.size, self.size)
            places = (divmod(end, self.file_size) for end in ends)
            known = tuple(
                ids[block] * self.file_size + place for block, place in places if block < len(ids)
            )
        return (*known, *(next(self._fresh) for _ in range(whole - len(known))))


def check_block_size(ids: Sequence[Ids], prompts: Sequence[int], size: int, where: str) -> None:
    """Refuse a block size that does not fit the prompts: one id for each block, full or started.

    Args:
        ids: Ids of each prompt.
        prompts: Tokens of each prompt.
        size: Tokens of a block of the file.
        where: The file, for the message.

    Raises:
        InputError: If a prompt has too few or too many ids.
    """
    for row, (one, tokens) in enumerate(zip(ids, prompts, strict=True)):
        if len(one) not in {tokens // size, -(-tokens // size)}:
            hint = f", like {max(round(tokens / len(one)), 1)}" if one else ""
            raise InputError(
                f"wanted one id for every {size} tokens of a prompt in {where}, got {len(one):,} "
                f"ids for {tokens:,} tokens in request {row + 1}: give the size of the file's "
                f"blocks as file_block_size{hint}"
            )
