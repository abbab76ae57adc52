"""Arguments of layers at some positions, cut from those recorded for all positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from adadecode.engine.model.stand_in import Call


def cut_arguments(
    calls: Sequence[Call],
    capacity: int,
    start: int,
    stop: int,
    rows: torch.Tensor | None = None,
) -> list[Call]:
    """Return every layer's arguments for some positions.

    Tensors are cut along each axis that has ``capacity`` entries. Layers with the same arguments
    share one copy.

    Args:
        calls: What each layer was called with for positions 0 to ``capacity``.
        capacity: How many positions were recorded.
        start: The first position.
        stop: The position after the last one.
        rows: Positions to take instead, in this order, shape ``(n,)``.
    """
    cut: dict[int, torch.Tensor] = {}

    def cut_value(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            found = cut.get(id(value))
            if found is None:
                found = cut[id(value)] = _cut_tensor(value, capacity, start, stop, rows)
            return found
        if isinstance(value, (tuple, list)):
            return type(value)(cut_value(v) for v in value)
        if isinstance(value, dict):
            return {k: cut_value(v) for k, v in value.items()}
        return value

    sliced: list[Call] = []
    shared: dict[tuple[int, ...], Call] = {}
    for args, kwargs in calls:
        key = (*map(id, args), *map(id, kwargs.values()))
        if key not in shared:
            shared[key] = (cut_value(args), cut_value(kwargs))
        sliced.append(shared[key])
    return sliced


def position_tensors(calls: Sequence[Call], capacity: int) -> list[torch.Tensor]:
    """Return the tensors among layers' arguments that grow with the text, each once.

    Args:
        calls: What each layer was called with.
        capacity: For how many positions.
    """
    found: dict[int, torch.Tensor] = {}
    for call in calls:
        for leaf in pytree.tree_leaves(call):
            if isinstance(leaf, torch.Tensor) and capacity in leaf.shape:
                found[id(leaf)] = leaf
    return list(found.values())


def _cut_tensor(
    tensor: torch.Tensor, capacity: int, start: int, stop: int, rows: torch.Tensor | None
) -> torch.Tensor:
    """Cut a tensor along each axis of ``capacity`` entries."""
    found = tensor
    for axis, size in enumerate(tensor.shape):
        if size == capacity:
            found = (
                found.narrow(axis, start, stop - start)
                if rows is None
                else found.index_select(axis, rows.to(found.device))
            )
    return found
