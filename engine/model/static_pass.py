"""One pass in static shapes: where it writes, what each row sees, and the layers' arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from adadecode.engine.model.stand_in import Call


@dataclass(frozen=True, kw_only=True, eq=False)
class StaticPass:
    """One static pass over N rows.

    Attributes:
        slots: Where keys and values go, shape ``(N,)``.
        masks: By window, what is added to the scores of each row, shape ``(N, bucket)``: 0 where it
            sees a slot, minus infinity elsewhere. Every layer would convert a boolean mask into
            one.
        leaves: The distinct tensors among the layers' arguments, at these positions.
        keys: By layer, the buffer of keys, shape ``(1, kv_heads, slots, head_dim)``.
        values: By layer, the buffer of values.
    """

    slots: torch.Tensor
    masks: dict[int | None, torch.Tensor]
    leaves: Sequence[torch.Tensor]
    keys: Sequence[torch.Tensor | None] | dict[int, torch.Tensor]
    values: Sequence[torch.Tensor | None] | dict[int, torch.Tensor]
    _repeated: dict[tuple[int | None, int, torch.dtype], torch.Tensor] = field(default_factory=dict)

    @property
    def bucket(self) -> int:
        """How many slots are attended over."""
        return next(iter(self.masks.values())).shape[-1]

    def mask(self, window: int | None, groups: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the mask for query heads packed by ``groups``; shared by the layers.

        Args:
            window: How many positions a layer sees; None for all.
            groups: Query heads that share a key/value head.
            dtype: The dtype of the queries.

        Returns:
            A mask of shape ``(groups * N, bucket)``.
        """
        found = self._repeated.get((window, groups, dtype))
        if found is None:
            found = self._repeated[window, groups, dtype] = (
                self.masks[window].to(dtype).repeat(groups, 1)
            )
        return found


@dataclass(frozen=True, eq=False)
class ArgumentSlot:
    """Stands for a tensor among a layer's arguments: number ``index`` of the distinct ones."""

    index: int


class LayerArguments:
    """The recorded layer arguments of one room, ready to be gathered by position.

    Args:
        calls: What each layer was called with for all positions.
        capacity: How many positions there are.
    """

    def __init__(self, calls: Sequence[Call], capacity: int) -> None:
        self.tensors: list[torch.Tensor] = []
        self.axes: list[list[int]] = []
        numbers: dict[int, int] = {}
        self.layers: list[Any] = []
        seen: dict[tuple[int, ...], Any] = {}
        for args, kwargs in calls:
            key = (*map(id, args), *map(id, kwargs.values()))
            if key not in seen:
                leaves, spec = pytree.tree_flatten((args, kwargs))
                for at, leaf in enumerate(leaves):
                    if isinstance(leaf, torch.Tensor):
                        if id(leaf) not in numbers:
                            numbers[id(leaf)] = len(self.tensors)
                            self.tensors.append(leaf)
                            self.axes.append(
                                [axis for axis, size in enumerate(leaf.shape) if size == capacity]
                            )
                        leaves[at] = ArgumentSlot(numbers[id(leaf)])
                seen[key] = (leaves, spec)
            self.layers.append(seen[key])

    def gather(self, positions: torch.Tensor) -> list[torch.Tensor]:
        """Return the distinct tensors at these positions, shape ``(N,)``."""
        found = []
        for tensor, axes in zip(self.tensors, self.axes, strict=True):
            cut = tensor
            for axis in axes:
                cut = cut.index_select(axis, positions.to(cut.device))
            found.append(cut)
        return found

    def used(self, layer: int) -> list[int]:
        """Return the numbers of the tensors that a layer is given, in order, each once."""
        leaves, _ = self.layers[layer]
        return list(dict.fromkeys(leaf.index for leaf in leaves if isinstance(leaf, ArgumentSlot)))

    def call(self, layer: int, gathered: Sequence[torch.Tensor] | dict[int, torch.Tensor]) -> Call:
        """Return a layer's arguments, made from what `gather` returned."""
        leaves, spec = self.layers[layer]
        return pytree.tree_unflatten(
            [gathered[leaf.index] if isinstance(leaf, ArgumentSlot) else leaf for leaf in leaves],
            spec,
        )
