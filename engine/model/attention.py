"""Attention over the project's own key/value buffers, registered with ``transformers``.

Layers are called without a cache. The registered function writes their new keys and values into
preallocated buffers, and attends to every slot up to the query's own position. Stale slots beyond
it are hidden by causality and overwritten before they are read, so a rollback costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from adadecode.profiles.errors import UnsupportedModel

NAME = "adadecode"


class KeyValues:
    """Keys and values of one sequence, in one buffer per layer.

    A buffer has the shape ``(1, kv_heads, slots, head_dim)`` and is allocated when its layer first
    writes.

    Attributes:
        capacity: Positions that there is room for.
        slots: Entries of each buffer; as many as the capacity, unless `reserve` adds spare ones.
        start: The first position that is computed now.
        stop: The position after the last one that is computed now.
        writes: How many layers have written.
        windows: By layer, the window that its attention was called with.
    """

    def __init__(self, n_layers: int, capacity: int) -> None:
        self.capacity = capacity
        self.keys: list[torch.Tensor | None] = [None] * n_layers
        self.values: list[torch.Tensor | None] = [None] * n_layers
        self.start = self.stop = 0
        self.writes = 0
        self.windows: dict[int, int | None] = {}  # by layer
        self.slots = capacity
        self._masks: dict[tuple[int | None, int, torch.device], torch.Tensor] = {}

    def at(self, start: int, stop: int) -> None:
        """Set the positions [start, stop) that the layers called next compute."""
        self.start, self.stop = start, stop
        self._masks.clear()

    def write(
        self, layer: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values of the current positions, and return the layer's whole buffers.

        Args:
            layer: The layer.
            key: Shape ``(1, kv_heads, n, head_dim)``.
            value: Shape ``(1, kv_heads, n, head_dim)``.
        """
        keys, values = self.keys[layer], self.values[layer]
        if keys is None or values is None:
            keys = self.keys[layer] = key.new_zeros((*key.shape[:2], self.slots, key.shape[-1]))
            values = self.values[layer] = value.new_zeros(
                (*value.shape[:2], self.slots, value.shape[-1])
            )
        keys.narrow(2, self.start, self.stop - self.start).copy_(key)
        values.narrow(2, self.start, self.stop - self.start).copy_(value)
        self.writes += 1
        return keys, values

    def reserve(
        self, shapes: Sequence[tuple[int, int, int, torch.dtype, torch.device]], spare: int
    ) -> None:
        """Allocate every layer's buffers at once, with spare slots.

        The number of slots is rounded up to a multiple of 64, so that every bucket is one too.

        Args:
            shapes: Key/value heads, widths of key and value, dtype and device of each layer.
            spare: How many slots to add to the capacity.
        """
        self.slots = -(-(self.capacity + spare) // 64) * 64
        for layer, (heads, key, value, dtype, device) in enumerate(shapes):
            self.keys[layer] = torch.zeros((1, heads, self.slots, key), dtype=dtype, device=device)
            self.values[layer] = torch.zeros(
                (1, heads, self.slots, value), dtype=dtype, device=device
            )

    def first_visible(self, window: int | None) -> int:
        """Return the first slot that any of the current positions may see."""
        return max(0, self.start + 1 - window) if window else 0

    def mask(self, window: int | None, groups: int, device: torch.device) -> torch.Tensor:
        """Return which slots the current positions may see; shared by the layers of one call.

        Args:
            window: How many positions a layer sees; None for all.
            groups: Query heads that share a key/value head.
            device: Where the mask is wanted.

        Returns:
            A boolean mask of shape ``(groups * n, visible)``.
        """
        first = self.first_visible(window)
        found = self._masks.get((window, groups, device))
        if found is None:
            query = torch.arange(self.start, self.stop, device=device)[:, None]
            slot = torch.arange(first, self.stop, device=device)[None]
            found = slot <= query
            if window:
                found &= slot > query - window
            found = self._masks[window, groups, device] = found.repeat(groups, 1)
        return found

    @property
    def nbytes(self) -> int:
        """Bytes that the keys and values take."""
        return sum(t.nbytes for t in (*self.keys, *self.values) if t is not None)


current_buffers: list[KeyValues] = []


@contextmanager
def implemented(config: Any, name: str) -> Iterator[None]:
    """Let the layers of models with this configuration attend by the function of this name."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def attending(model: PreTrainedModel, kv: KeyValues) -> Iterator[None]:
    """Let the model's layers attend over ``kv``, and afterwards as they did before."""
    current_buffers.append(kv)
    try:
        with implemented(model.config.get_text_config(), NAME), _unplanned():
            yield
    finally:
        current_buffers.pop()


@contextmanager
def _unplanned() -> Iterator[None]:
    """Keep torch from taking cuDNN's attention.

    Torch prefers it on recent GPUs, and it plans every new length for milliseconds.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(enabled=before)


def attend(
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
    """Attend as ``transformers`` calls it.

    Args:
        module: The attention module.
        query: Shape ``(1, heads, n, d)``.
        key: Shape ``(1, kv_heads, n, d)``.
        value: Shape ``(1, kv_heads, n, d)``.
        attention_mask: Not used; causality and the window say what is seen.
        scaling: Factor of the scores; 1 over the root of d by default.
        dropout: Not used.
        sliding_window: How many positions the layer sees; None for all.
        softcap: Cap of the scores (Gemma 2).
        s_aux: Sink logits of the heads (gpt-oss).
        position_bias: What some models add to the scores, which cannot be replayed.
        **unused: Whatever else a model passes.

    Returns:
        The output, shape ``(1, n, heads, d)``, and no weights.

    Raises:
        UnsupportedModel: The model adds a position bias.
    """
    if position_bias is not None:
        raise UnsupportedModel(
            f"{type(module).__name__} adds a position bias to its attention, which cannot be "
            "replayed: use another model"
        )
    kv = current_buffers[-1]
    kv.windows[int(module.layer_idx)] = sliding_window  # type: ignore[arg-type]
    keys, values = kv.write(module.layer_idx, key, value)  # type: ignore[arg-type]
    _, heads, n, width = query.shape
    kv_heads = keys.shape[1]
    groups = heads // kv_heads
    scale = scaling if scaling is not None else width**-0.5
    if (
        kv.start == 0
        and n > 1
        and softcap is None
        and s_aux is None
        and not (sliding_window and n > sliding_window)
    ):
        out = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=groups > 1
        )
        return out.transpose(1, 2), None
    first = kv.first_visible(sliding_window)
    keys, values = keys.narrow(2, first, kv.stop - first), values.narrow(2, first, kv.stop - first)
    packed = query.reshape(
        1, kv_heads, groups * n, width
    )  # query heads that share a key/value head stand side by side
    mask = None if n == 1 else kv.mask(sliding_window, groups, query.device)
    out = attend_packed(packed, keys, values, mask, scale, softcap, s_aux, n)
    return out.reshape(1, heads, n, out.shape[-1]).transpose(1, 2), None


def attend_packed(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    softcap: float | None,
    sinks: torch.Tensor | None,
    n: int,
) -> torch.Tensor:
    """Attend with the query heads that share a key/value head packed side by side.

    Scores are computed here where they are capped (Gemma 2) or a head has a sink logit (gpt-oss).

    Args:
        query: Shape ``(1, kv_heads, groups * n, d)``.
        keys: Shape ``(1, kv_heads, slots, d)``.
        values: Shape ``(1, kv_heads, slots, d)``.
        mask: Shape ``(groups * n, slots)``: boolean, or what is added to the scores, in their
            dtype.
        scale: Factor of the scores.
        softcap: Cap of the scores; None for none.
        sinks: Sink logits of the query heads; None for none.
        n: Positions.

    Returns:
        The output, shape ``(1, kv_heads, groups * n, d)``.
    """
    if softcap is None and sinks is None:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale)
    scores = (query @ keys.transpose(-1, -2)) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        )
    if sinks is None:
        return torch.softmax(scores, -1) @ values
    sink = sinks.reshape(1, keys.shape[1], -1, 1).repeat_interleave(n, 2).to(scores)
    return torch.softmax(torch.cat([scores, sink], -1), -1)[..., :-1] @ values


AttentionInterface.register(NAME, attend)
