"""The shape of a model from its own parameters: what one token reads of each layer.

No family of models is known here. One token goes through the layers, and what they touch is seen:
the weights, the experts that are chosen, and the keys and values that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adadecode.engine.model.attending import attending_by
from adadecode.engine.model.attention import KeyValues, attend
from adadecode.engine.model.segmented_model import SegmentedModel, most_positions
from adadecode.engine.model.shadow import uncompiled
from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.catalog.model_shape import ModelShape

_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
"""Keys under which configs say how many experts a token uses, where no layer shows it."""

_GATED = 3
"""Matrices of the MLP for which a width is worked out from its parameters."""


def measure_shape(parts: SegmentedModel, name: str) -> ModelShape:
    """Return the shape of a model by what a token reads of it.

    Args:
        parts: The model, taken apart.
        name: What the shape is called.

    Raises:
        ShapeError: If what was seen is impossible.
    """
    model, head = parts.model, parts.lm_head.weight
    with torch.inference_mode():
        seen = list(_watch_layers(parts))
    layers = tuple(_describe(parts, index, one) for index, one in enumerate(seen))
    first = seen[0]
    rows, width = (int(size) for size in head.shape)
    return ModelShape(
        name=name,
        n_layers=parts.n_layers,
        hidden_size=parts.hidden_size,
        intermediate_size=max(1, layers[0].mlp_width),
        n_heads=first.heads,
        n_kv_heads=first.kv_heads,
        head_dim=first.key_width,
        vocab_size=rows,
        tied_embeddings=head is model.get_input_embeddings().weight,
        max_positions=most_positions(model),
        source="measured by the engine",
        layers=layers,
        lm_head_width=None if width == parts.hidden_size else width,
        n_parameters=sum(map(_numbers, model.parameters())),
    )


@dataclass(eq=False)
class _Watch(TorchDispatchMode):
    """Sees what one layer does with one token.

    Attributes:
        storages: Addresses of all memory that was read.
        module: The module that attended; None where none did.
        heads: Heads of queries, and ``kv_heads`` of keys and values.
        key_width: Width of a key, and ``value_width`` of a value.
        chosen: By module, how many experts it was told to use.
    """

    storages: set[int] = field(default_factory=set)
    module: nn.Module | None = None
    heads: int = 1
    kv_heads: int = 1
    key_width: int = 1
    value_width: int = 1
    chosen: dict[nn.Module, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        self.storages |= {
            address
            for one in tree_leaves((args, kwargs))
            if isinstance(one, torch.Tensor) and (address := _address(one)) is not None
        }
        return func(*args, **(kwargs or {}))

    def attend(self, kv: KeyValues, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Attend, and see the widths of queries, keys and values."""
        query, key, value = args[:3]
        self.module, self.heads, self.kv_heads = module, query.shape[1], key.shape[1]
        self.key_width, self.value_width = key.shape[-1], value.shape[-1]
        return attend(kv, module, *args, **kwargs)

    def choose(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """See how many experts a module is told to use: the width of a table of whole numbers."""
        for one in tree_leaves((args, kwargs)):
            if isinstance(one, torch.Tensor) and one.dtype == torch.long and one.ndim == 2:
                self.chosen[module] = int(one.shape[1])

    def used(self, weight: torch.Tensor) -> bool:
        """Return whether a weight was read; one whose memory cannot be seen counts as read."""
        address = _address(weight)
        return address is None or address in self.storages


def _address(tensor: torch.Tensor) -> int | None:
    """Return where the memory of a tensor begins; None where it does not say."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError):
        return None


def _watch_layers(parts: SegmentedModel) -> Iterator[_Watch]:
    """Run one token through the layers, and yield what was seen of each."""
    kv = KeyValues(parts.n_layers, 1, unheeded=parts.unheeded)
    kv.at(0, 1)
    calls = parts.calls_of(1)
    hidden = parts.embed(torch.zeros((1, 1), dtype=torch.long, device=parts.device), 0)
    for layer, (args, kwargs) in zip(parts.layers, calls, strict=True):
        watch = _Watch()
        hooks = [
            module.register_forward_pre_hook(watch.choose, with_kwargs=True)
            for module in layer.modules()
            if _stacked(module)
        ]
        try:
            with attending_by(partial(watch.attend, kv)), watch:
                out = uncompiled(layer)(hidden, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        hidden = out[0] if isinstance(out, tuple) else out
        yield watch


def _describe(parts: SegmentedModel, index: int, seen: _Watch) -> LayerShape:
    """Return a layer by what was seen of it."""
    layer = parts.layers[index]
    groups = list(_experts(parts, layer, seen))
    groups = [one for one in groups if one.number == groups[0].number]  # others are read whole
    in_experts = {id(weight) for group in groups for weight in group.weights}
    norms = {
        id(weight)
        for child in layer.children()
        if "norm" in type(child).__name__.lower()
        for weight in child.parameters()
    }
    read = {id(one): one for one in layer.parameters() if seen.used(one)}
    rest = [one for key, one in read.items() if key not in in_experts]
    within = {id(one) for one in (seen.module.parameters() if seen.module is not None else ())}
    n_experts, per_token = groups[0].number if groups else (0, 0)
    one_expert = sum(group.each for group in groups)
    mlp = per_token * one_expert + sum(
        _numbers(one) for one in rest if id(one) not in within | norms and one.ndim > 1
    )
    kept = seen.kv_heads * (seen.key_width + seen.value_width) if seen.module is not None else 0
    queries, keys = seen.heads * seen.key_width, seen.kv_heads * seen.key_width
    return LayerShape(
        shared=sum(_numbers(one) for one in rest if id(one) not in norms),
        norms=sum(_numbers(one) for one in rest if id(one) in norms),
        n_experts=n_experts,
        experts_per_token=per_token,
        expert_parameters=one_expert,
        cache=kept,
        reads=kept,
        products=seen.heads * (seen.key_width + seen.value_width) if kept else 0,
        window=parts.windows.get(index) or None,
        attention_width=queries + keys if kept else 0,
        mlp_width=mlp // (_GATED * parts.hidden_size),
    )


@dataclass(frozen=True, kw_only=True)
class _Experts:
    """Experts that stand together.

    Attributes:
        count: How many there are.
        per_token: How many of them a token uses.
        weights: Their parameters.
    """

    count: int
    per_token: int
    weights: Sequence[nn.Parameter]

    @property
    def number(self) -> tuple[int, int]:
        """How many there are, and how many a token uses."""
        return self.count, self.per_token

    @property
    def each(self) -> int:
        """Parameters of one expert."""
        return sum(map(_numbers, self.weights)) // self.count


def _experts(parts: SegmentedModel, layer: nn.Module, seen: _Watch) -> Iterator[_Experts]:
    """Yield the experts of a layer: stacked in one tensor, or modules of which some were used.

    Experts of which a token uses all are no mixture.
    """
    for module in layer.modules():
        if stacked := _stacked(module):
            count = int(stacked[0].shape[0])
            per_token = seen.chosen.get(module) or _by_config(parts) or count
            if per_token < count:
                yield _Experts(count=count, per_token=per_token, weights=stacked)
        elif isinstance(module, nn.ModuleList) and len(module) > 1:
            used = sum(any(map(seen.used, one.parameters())) for one in module)
            sizes = {sum(map(_numbers, one.parameters())) for one in module}
            if 0 < used < len(module) and len(sizes) == 1:
                yield _Experts(count=len(module), per_token=used, weights=list(module.parameters()))


def _stacked(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module that holds all experts in tensors of three dimensions."""
    own = list(module.parameters(recurse=False))
    counts = {int(one.shape[0]) for one in own if one.ndim == 3 and one.shape[1] > 1}
    if len(counts) != 1 or min(counts) < 2:
        return []
    return [one for one in own if one.ndim > 1 and int(one.shape[0]) in counts]


def _by_config(parts: SegmentedModel) -> int | None:
    """Return how many experts a token uses by the config; None where it does not say."""
    found = (getattr(parts.config, key, None) for key in _CHOSEN)
    return next((int(one) for one in found if isinstance(one, int) and one > 0), None)


def _numbers(weight: torch.Tensor) -> int:
    """Return how many numbers a weight holds; two of four bits are packed in a byte."""
    return weight.numel() * (2 if weight.dtype == torch.uint8 else 1)
