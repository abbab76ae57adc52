"""A model and its heads for the rows of many sequences at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import torch

from adadecode.engine.decoding.sampling import packed_draft, unpacked_draft
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.static_pass import LayerArguments
from adadecode.engine.runtime.free_memory import free_bytes
from adadecode.engine.serving.paged_keys_values import PackedRows, PagedKeysValues
from adadecode.engine.serving.row_groups import Rows, grouped, parted
from adadecode.profiles.errors import InputError
from adadecode.sim.core.scheduler import Draft, Score

_FEWEST_POSITIONS = 256
"""Positions that layers' arguments are recorded for at first."""


class SequenceRows(NamedTuple):
    """Positions [start, stop) of a sequence in a batch.

    Attributes:
        start: The first position.
        stop: The position after the last one.
        blocks: The blocks of its keys and values, in the order of positions.
        n_prompt: Tokens of its prompt.
    """

    start: int
    stop: int
    blocks: tuple[int, ...]
    n_prompt: int


class BatchedModel:
    """Runs segments on packed rows, and asks gates, heads and the last layer for many rows.

    Hidden states are of shape ``(1, n, d)``, where the n rows are of any sequences. Use it within
    ``parts.session()``.

    Attributes:
        parts: The model.
        pages: The keys and values of all sequences.

    Args:
        parts: See above.
        n_blocks: Blocks of keys and values.
        block_size: Positions of a block.

    Raises:
        InputError: The blocks do not fit into memory.
    """

    kind_of_pages: ClassVar[type[PagedKeysValues]] = PagedKeysValues

    def __init__(self, parts: SegmentedModel, n_blocks: int, block_size: int) -> None:
        self.parts = parts
        self._check_memory(n_blocks, block_size)
        with torch.inference_mode():
            self.pages = self.kind_of_pages(parts.kv, n_blocks, block_size)
        self._capacity = 0
        self._arguments = LayerArguments([], 0)
        self._latest: tuple[Sequence[SequenceRows], PackedRows | None] = ((), None)

    def _check_memory(self, n_blocks: int, block_size: int) -> None:
        """Raise InputError where the blocks do not fit into memory."""
        kv = self.parts.kv
        for device in self.parts.devices:
            held = [one for one in (*kv.keys, *kv.values) if one is not None]
            each = sum(one.nbytes for one in held if one.device == device) * block_size
            each //= kv.capacity
            free = free_bytes(device, with_cache=True)
            if free is not None and each * n_blocks > free:
                raise InputError(
                    f"{n_blocks} blocks of {block_size} positions take "
                    f"{each * n_blocks / 2**30:,.1f} GiB of keys and values on {device}, "
                    f"{free / 2**30:,.1f} GiB are free: give kv_blocks, at most "
                    f"{free // each:,}"
                )

    def reserve(self, positions: int) -> None:
        """Get ready for texts of so many positions."""
        if positions <= self._capacity:
            return
        limits = self.parts.limits
        wanted = max(positions, min(max(_FEWEST_POSITIONS, 2 * positions), *limits, 2**31))
        self._capacity = self.parts.capacity_for(wanted)
        self._arguments = LayerArguments(self.parts.calls_of(self._capacity), self._capacity)
        self._latest = ((), None)

    def packed(self, sequences: Sequence[SequenceRows]) -> PackedRows:
        """Return the rows of a batch, sequence by sequence.

        They are made once where the same rows go on to the next segment.
        """
        latest, made = self._latest
        if made is None or latest != sequences:
            made = self._packed(sequences)
            self._latest = (sequences, made)
        return made

    def _packed(self, sequences: Sequence[SequenceRows]) -> PackedRows:
        positions: list[int] = []
        slots: list[int] = []
        rows: list[Rows] = []
        size, device = self.pages.block_size, self.parts.device
        for start, stop, blocks, n_prompt in sequences:
            own = Rows(len(positions), start, stop, blocks, prompt=False)
            rows += parted(own, n_prompt)
            positions += range(start, stop)
            slots += [blocks[at // size] * size + at % size for at in range(start, stop)]
        at = torch.tensor(positions, device=device)
        return PackedRows(
            positions=at,
            slots=torch.tensor(slots, device=device),
            groups=grouped(rows, size, device),
            leaves=self._arguments.gather(at),
        )

    def embed(self, tokens: Sequence[int], rows: PackedRows) -> torch.Tensor:
        """Return hidden states at depth 0 of one token a row."""
        return self.parts.embed_rows(torch.tensor(tokens, device=self.parts.device), rows.positions)

    def run(self, first: int, last: int, hidden: torch.Tensor, rows: PackedRows) -> torch.Tensor:
        """Run layers [first, last) and write their keys and values."""
        parts = self.parts
        with parts.attending(partial(self.pages.attend, rows), last - first):
            for index in range(first, last):
                args, kwargs = self._arguments.call(index, rows.leaves)
                out = parts.served_layer(index)(hidden, *args, **kwargs)
                hidden = out[0] if isinstance(out, tuple) else out
        return hidden

    def scores(self, heads: ExitHeads, depth: int, hidden: torch.Tensor) -> list[Score]:
        """Return what the gate at a depth says of each row."""
        found = heads.require_gates().score(depth, self.parts.normed(hidden))
        return [Score(float(score)) for score in found[0].tolist()]

    def head_logits(self, heads: ExitHeads, depth: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return a head's logits ``(n, V)`` of each row; minus infinity outside its shortlist."""
        return heads.logits(self.parts, depth, self.parts.normed(hidden))[0]

    def drafts(self, heads: ExitHeads, depth: int, hidden: torch.Tensor) -> list[Draft]:
        """Return the most likely token of a head for each row, and its probability."""
        logits = heads.own_logits(self.parts, depth, self.parts.normed(hidden))[0]
        return [unpacked_draft(pair) for pair in packed_draft(logits, heads.listed).tolist()]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the model's own logits ``(n, V)`` of rows at the last depth."""
        return self.parts.logits(hidden)[0]


def joined(chunks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return hidden states ``(1, n, d)`` one after the other."""
    return chunks[0] if len(chunks) == 1 else torch.cat(list(chunks), 1)
