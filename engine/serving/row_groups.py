"""The rows of a batch as groups of sequences that attend together, each over its own blocks.

A group of several sequences is padded to the most rows and blocks of any of them, and its mask
hides what is no sequence's own. A sequence by itself is not padded: it attends as it would alone,
bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch

from adadecode.engine.model.attention import causal_mask, first_visible
from adadecode.sim.serving.batching.attention_groups import GroupKey, group_key


class Rows(NamedTuple):
    """Rows of one sequence in a batch.

    Attributes:
        offset: The first row of the batch that is its own.
        start: The position of the first.
        stop: The position after the last.
        blocks: The blocks of its keys and values, in the order of positions.
        prompt: Whether the positions are the prompt's: these may see more than later ones.
    """

    offset: int
    start: int
    stop: int
    blocks: Sequence[int]
    prompt: bool

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self.stop - self.start


def parted(rows: Rows, n_prompt: int) -> list[Rows]:
    """Return rows as those of the prompt and those beyond it, without empty ones."""
    bounds = sorted({rows.start, min(max(n_prompt, rows.start), rows.stop), rows.stop})
    return [
        rows._replace(
            offset=rows.offset + start - rows.start,
            start=start,
            stop=stop,
            prompt=stop <= n_prompt,
        )
        for start, stop in pairwise(bounds)
    ]


@dataclass(kw_only=True, eq=False)
class RowGroup:
    """Sequences of a batch that attend together.

    Attributes:
        members: The rows of each sequence.
        block_size: Positions of a block.
        device: Where the layers are; others get copies.
        whole: Whether these are all rows of the batch.
    """

    members: Sequence[Rows]
    block_size: int
    device: torch.device
    whole: bool = False
    _masks: dict[tuple[int | None, int, torch.dtype, torch.device], torch.Tensor] = field(
        default_factory=dict
    )

    @property
    def alone(self) -> Rows | None:
        """The rows of the only sequence; None where there are several."""
        return self.members[0] if len(self.members) == 1 else None

    @property
    def prompt(self) -> bool:
        """Whether the positions are of prompts."""
        return self.members[0].prompt

    @cached_property
    def rows(self) -> int:
        """Rows that each sequence is padded to."""
        return max(one.height for one in self.members)

    @cached_property
    def n_blocks(self) -> int:
        """Blocks that each sequence is padded to."""
        return max(_blocks_of(one, self.block_size) for one in self.members)

    @cached_property
    def even(self) -> bool:
        """Whether no sequence is padded with rows."""
        return all(one.height == self.rows for one in self.members)

    @cached_property
    def blocks(self) -> torch.Tensor:
        """The blocks of all sequences, one after the other, shape ``(b * n_blocks,)``."""
        found: list[int] = []
        for one in self.members:
            own = list(one.blocks[: _blocks_of(one, self.block_size)])
            found += own + own[:1] * (self.n_blocks - len(own))
        return torch.tensor(found, device=self.device)

    @cached_property
    def sources(self) -> torch.Tensor:
        """The rows of the batch that are asked, shape ``(b * rows,)``; padding repeats the last."""
        return torch.tensor(
            [
                one.offset + min(row, one.height - 1)
                for one in self.members
                for row in range(self.rows)
            ],
            device=self.device,
        )

    @cached_property
    def answers(self) -> torch.Tensor:
        """Which of the ``(b * rows,)`` answers are no padding."""
        return torch.tensor(
            [
                index * self.rows + row
                for index, one in enumerate(self.members)
                for row in range(one.height)
            ],
            device=self.device,
        )

    @cached_property
    def targets(self) -> torch.Tensor:
        """The rows of the batch that ``answers`` belong to."""
        return torch.tensor(
            [one.offset + row for one in self.members for row in range(one.height)],
            device=self.device,
        )

    def mask(
        self, window: int | None, groups: int, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        """Return what is added to the scores, shared by the layers of a step.

        It is 0 where a row sees a slot of its own sequence, and minus infinity elsewhere.

        Args:
            window: How many positions a layer sees; None for all.
            groups: Query heads that share a key/value head.
            dtype: The dtype of the scores.
            device: Where it is wanted.

        Returns:
            A mask of shape ``(b, 1, groups * rows, n_blocks * block_size)``.
        """
        found = self._masks.get((window, groups, dtype, device))
        if found is None:
            seen = self._seen(window)[:, None].repeat(1, 1, groups, 1).to(device)
            found = torch.zeros(seen.shape, dtype=dtype, device=device)
            found.masked_fill_(~seen, -math.inf)
            self._masks[window, groups, dtype, device] = found
        return found

    def mask_alone(
        self, window: int | None, groups: int, device: torch.device
    ) -> torch.Tensor | None:
        """Return which slots from the first visible one on the only sequence sees; None for all.

        Arguments are those of `mask`.

        Returns:
            A boolean mask of shape ``(groups * rows, visible)``.
        """
        (own,) = self.members
        if own.height == 1:
            return None
        key = (window, groups, torch.bool, device)
        if key not in self._masks:
            self._masks[key] = causal_mask(own.start, own.stop, window, groups, device)
        return self._masks[key]

    def first_visible(self, window: int | None) -> int:
        """Return the first slot that any row of the only sequence sees."""
        return first_visible(self.members[0].start, window)

    def _seen(self, window: int | None) -> torch.Tensor:
        """Return which slots each row sees, shape ``(b, rows, slots)``."""
        position = torch.tensor(
            [
                [min(one.start + row, one.stop - 1) for row in range(self.rows)]
                for one in self.members
            ]
        )[..., None]
        slot = torch.arange(self.n_blocks * self.block_size)
        found = slot <= position
        if window:
            found &= slot > position - window
        return found


def grouped(rows: Iterable[Rows], block_size: int, device: torch.device) -> list[RowGroup]:
    """Return the rows of a batch as groups.

    Which stand together is said by `group_key`.

    Args:
        rows: The rows of each sequence, as `parted` returns them.
        block_size: Positions of a block.
        device: Where the layers are.
    """
    together: dict[GroupKey, list[Rows]] = {}
    for one in rows:
        blocks = _blocks_of(one, block_size)
        key = group_key(one.height, blocks, prompt=one.prompt, place=one.offset)
        together.setdefault(key, []).append(one)
    return [
        RowGroup(members=members, block_size=block_size, device=device, whole=len(together) == 1)
        for members in together.values()
    ]


def _blocks_of(rows: Rows, block_size: int) -> int:
    """Return how many blocks hold all positions up to the last row's."""
    return -(-rows.stop // block_size)
