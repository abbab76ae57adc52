"""Keys and values of many sequences in blocks, and attention over them.

A layer is called once for the rows of all sequences. Each row's key and value go into a block of
its own sequence, and each sequence attends to its own blocks up to the position of the row. Slots
behind that are stale or empty: causality hides them, so a rollback costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from adadecode.engine.model.attention import (
    KeyValues,
    attend_packed,
    attend_prompt,
    is_whole_prompt,
    refuse_position_bias,
)
from adadecode.engine.serving.row_groups import RowGroup


@dataclass(kw_only=True, eq=False)
class PackedRows:
    """The rows of one batch.

    Attributes:
        positions: The position of each row in its own sequence, shape ``(n,)``.
        slots: Where each row's key and value go, shape ``(n,)``.
        groups: Sequences that attend together.
        leaves: The distinct tensors among the layers' arguments, at these positions.
    """

    positions: torch.Tensor
    slots: torch.Tensor
    groups: Sequence[RowGroup]
    leaves: Sequence[torch.Tensor] = ()
    _on: dict[torch.device, torch.Tensor] = field(default_factory=dict)

    def slots_on(self, device: torch.device) -> torch.Tensor:
        """Return the slots on a device; shared by the layers there."""
        if device not in self._on:
            self._on[device] = self.slots.to(device)
        return self._on[device]


class PagedKeysValues:
    """Blocks of keys and values, one buffer of each a layer.

    A buffer has the shape ``(n_blocks * block_size, kv_heads, head_dim)``.

    Attributes:
        n_blocks: Blocks of each layer.
        block_size: Positions of a block.

    Args:
        like: Buffers of one sequence that every layer has written to: they tell shapes and windows.
        n_blocks: See above.
        block_size: See above.
    """

    def __init__(self, like: KeyValues, n_blocks: int, block_size: int) -> None:
        self.n_blocks, self.block_size = n_blocks, block_size
        self._like = like
        self.keys = [_buffer(one, n_blocks * block_size) for one in like.keys]
        self.values = [_buffer(one, n_blocks * block_size) for one in like.values]

    @property
    def nbytes(self) -> int:
        """Bytes that the keys and values take."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def attend(
        self,
        rows: PackedRows,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        **unused: Any,
    ) -> tuple[torch.Tensor, None]:
        """Attend as ``transformers`` calls it, for the rows of many sequences.

        Arguments beyond the rows are those of `adadecode.engine.model.attention.attend`, with n
        rows in place of n positions.

        Returns:
            The output, shape ``(1, n, heads, d)``, and no weights.

        Raises:
            UnsupportedModel: The model adds a position bias.
        """
        refuse_position_bias(module, position_bias)
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        like = self._like
        softcap, s_aux = like.heeded("softcap", softcap), like.heeded("s_aux", s_aux)
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        slots = rows.slots_on(key.device)
        self.keys[layer].index_copy_(0, slots, key[0].transpose(0, 1))
        self.values[layer].index_copy_(0, slots, value[0].transpose(0, 1))
        made: torch.Tensor | None = None
        for group in rows.groups:
            window = like.sees(layer, attention_mask, sliding_window, prompt=group.prompt)
            if group.alone is None:
                out = self._attend_together(group, layer, query, window, scale, softcap, s_aux)
            else:
                out = self._attend_alone(
                    group, layer, query, key, value, window, scale, softcap, s_aux
                )
            if group.whole:
                return out[None].contiguous(), None
            if made is None:
                made = out.new_empty((1, query.shape[2], *out.shape[1:]))
            made[0].index_copy_(0, group.targets.to(out.device), out)
        assert made is not None
        return made, None

    def _attend_alone(
        self,
        group: RowGroup,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        window: int | None,
        scale: float,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the output ``(n, heads, d)`` of one sequence, with the bits it has alone."""
        own = group.members[0]
        n, heads, width = own.height, query.shape[1], query.shape[-1]
        query = query.narrow(2, own.offset, n)
        kv_heads = key.shape[1]
        groups = heads // kv_heads
        scored = softcap is not None or sinks is not None
        if is_whole_prompt(own.start, n, window, scored=scored):
            keys, values = (tensor.narrow(2, own.offset, n) for tensor in (key, value))
            return attend_prompt(query, keys, values, scale)[0].transpose(0, 1)
        first = group.first_visible(window)
        keys, values = (
            self._of_group(buffer, group)[:, :, first : own.stop]
            for buffer in (self.keys[layer], self.values[layer])
        )
        packed = query.reshape(1, kv_heads, groups * n, width)
        mask = group.mask_alone(window, groups, query.device)
        out = attend_packed(packed, keys, values, mask, scale, softcap, sinks, n)
        return out.reshape(heads, n, out.shape[-1]).transpose(0, 1)

    def _attend_together(
        self,
        group: RowGroup,
        layer: int,
        query: torch.Tensor,
        window: int | None,
        scale: float,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the output ``(n, heads, d)`` of several sequences, their padding left out."""
        keys, values = (
            self._of_group(buffer, group) for buffer in (self.keys[layer], self.values[layer])
        )
        count, n, kv_heads = len(group.members), group.rows, keys.shape[1]
        _, heads, _, width = query.shape
        asked = (
            query[0]
            if group.whole and group.even
            else query[0].index_select(1, group.sources.to(query.device))
        )
        # query heads that share a key/value head stand side by side
        packed = asked.reshape(kv_heads, heads // kv_heads, count, n, width).permute(2, 0, 1, 3, 4)
        mask = group.mask(window, heads // kv_heads, query.dtype, query.device)
        out = attend_packed(
            packed.reshape(count, kv_heads, -1, width), keys, values, mask, scale, softcap, sinks, n
        )
        answers = out.reshape(count, heads, n, -1).transpose(1, 2).reshape(count * n, heads, -1)
        return answers if group.even else answers.index_select(0, group.answers.to(answers.device))

    def _of_group(self, buffer: torch.Tensor, group: RowGroup) -> torch.Tensor:
        """Return the blocks of a group, shape ``(b, kv_heads, n_blocks * block_size, d)``."""
        blocks = group.blocks.to(buffer.device)
        found = buffer.reshape(self.n_blocks, self.block_size, *buffer.shape[1:])
        found = found.index_select(0, blocks)
        return found.reshape(len(group.members), -1, *buffer.shape[1:]).transpose(1, 2)


def _buffer(like: torch.Tensor | None, slots: int) -> torch.Tensor:
    """Return a buffer of so many slots, of a layer whose own has the shape ``(1, h, n, d)``."""
    assert like is not None
    return like.new_zeros((slots, like.shape[1], like.shape[3]))
