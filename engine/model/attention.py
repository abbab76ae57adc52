"""Attention over the project's own key/value buffers.

Layers are called without a cache. `attend` writes their new keys and values into
preallocated buffers, and attends to every slot up to the query's own position. Stale slots beyond
it are hidden by causality and overwritten before they are read, so a rollback costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import isqrt
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface

from adadecode.engine.model.attending import NAME
from adadecode.engine.model.window import UnknownMask, Window, describe_mask, narrower
from adadecode.profiles.errors import UnsupportedModel

MOST_SCORES = 2**24
"""Scores, or entries of a mask, that are made at once: a long prompt is attended in parts."""


class KeyValues:
    """Keys and values of one sequence, in one buffer per layer.

    A buffer has the shape ``(1, kv_heads, slots, head_dim)`` and is allocated when its layer first
    writes.

    Attributes:
        capacity: Positions that there is room for.
        slots: Entries of each buffer; as many as the capacity, unless `reserve` adds spare ones.
        start: The first position that is computed now.
        stop: The position after the last one that is computed now.
        texts: How many prompts were written so far, each over the one before.
        windows: By layer, how many positions it sees beyond the prompt; None for all.
        undescribed: Layers that came without a description of what they see.
        kept: By layer, how many positions the cache of ``generate`` keeps beyond the prompt.
        unheeded: Names of arguments that the model's own attention does not heed.
    """

    def __init__(
        self,
        n_layers: int,
        capacity: int,
        kept: Mapping[int, int] | None = None,
        unheeded: frozenset[str] = frozenset(),
    ) -> None:
        self.capacity = capacity
        self.kept = {} if kept is None else kept
        self.unheeded = unheeded
        self.undescribed: set[int] = set()
        self.keys: list[torch.Tensor | None] = [None] * n_layers
        self.values: list[torch.Tensor | None] = [None] * n_layers
        self.start = self.stop = self.texts = 0
        self.windows: dict[int, int | None] = {}  # by layer
        self.slots = capacity
        self._masks: dict[tuple[int | None, int, torch.device], torch.Tensor] = {}

    def at(self, start: int, stop: int) -> None:
        """Set the positions [start, stop) that the layers called next compute."""
        self.start, self.stop = start, stop
        self.texts += start == 0
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

    def sees(
        self, layer: int, mask: object, sliding_window: int | None, *, prompt: bool = False
    ) -> int | None:
        """Return how many positions a layer sees; None for all.

        Args:
            layer: The layer.
            mask: What it was given as its mask.
            sliding_window: What it was given as its window, which counts without a description.
            prompt: Whether the current positions are the prompt's.

        Raises:
            UnknownMask: It sees something else.
        """
        if isinstance(mask, Window):
            if not mask.known:
                raise UnknownMask("its layers see neither all earlier positions nor a window")
            own = mask.width
        else:
            own = sliding_window or None
            self.undescribed.add(layer)
        self.windows[layer] = later = narrower(own, self.kept.get(layer))
        return own if prompt else later

    def heeded(self, name: str, value: Any) -> Any:
        """Return an argument of attention, or None where the model's own does not heed it."""
        return None if name in self.unheeded else value

    def first_visible(self, window: int | None) -> int:
        """Return the first slot that any of the current positions may see."""
        return first_visible(self.start, window)

    def mask(self, window: int | None, groups: int, device: torch.device) -> torch.Tensor:
        """Return which slots the current positions may see; shared by the layers of one call.

        Args:
            window: How many positions a layer sees; None for all.
            groups: Query heads that share a key/value head.
            device: Where the mask is wanted.

        Returns:
            A boolean mask of shape ``(groups * n, visible)``.
        """
        found = self._masks.get((window, groups, device))
        if found is None:
            found = causal_mask(self.start, self.stop, window, groups, device)
            self._masks[window, groups, device] = found
        return found

    @property
    def nbytes(self) -> int:
        """Bytes that the keys and values take."""
        return sum(t.nbytes for t in (*self.keys, *self.values) if t is not None)


def first_visible(start: int, window: int | None) -> int:
    """Return the first slot that positions from ``start`` on may see."""
    return max(0, start + 1 - window) if window else 0


def causal_mask(
    start: int, stop: int, window: int | None, groups: int, device: torch.device
) -> torch.Tensor:
    """Return which slots the positions [start, stop) may see; see `KeyValues.mask`."""
    query = torch.arange(start, stop, device=device)[:, None]
    slot = torch.arange(first_visible(start, window), stop, device=device)[None]
    found = slot <= query
    if window:
        found &= slot > query - window
    return found.repeat(groups, 1)


class _Asked(torch.nn.Module):
    """An attention module for a question to an implementation."""

    is_causal, num_key_value_groups, layer_idx = True, 1, 0


@cache
def unheeded_by(implementation: str | None) -> frozenset[str]:
    """Return which arguments of attention an implementation of ``transformers`` leaves out.

    SDPA knows no soft cap and no sinks, and ``transformers`` passes over them. It is asked with a
    few numbers. Of other implementations the model is believed.

    Args:
        implementation: The name that the model goes by.
    """
    if implementation != "sdpa":
        return frozenset()
    attention, module = AttentionInterface()[implementation], _Asked()
    few = torch.linspace(-3, 3, 24).reshape(1, 2, 3, 4)
    plain = attention(module, few, few, few, None)[0]
    asked = {"softcap": 0.1, "s_aux": torch.ones(2)}
    return frozenset(
        name
        for name, value in asked.items()
        if torch.equal(attention(module, few, few, few, None, **{name: value})[0], plain)
    )


def attend(
    kv: KeyValues,
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
    """Attend as ``transformers`` calls it, over the buffers of one sequence.

    Args:
        kv: The buffers.
        module: The attention module.
        query: Shape ``(1, heads, n, d)``.
        key: Shape ``(1, kv_heads, n, d)``.
        value: Shape ``(1, kv_heads, n, d)``.
        attention_mask: A `Window`, which says what is seen; anything else is not used.
        scaling: Factor of the scores; 1 over the root of d by default.
        dropout: Not used.
        sliding_window: How many positions the layer sees, where no `Window` says it.
        softcap: Cap of the scores (Gemma 2).
        s_aux: Sink logits of the heads (gpt-oss).
        position_bias: What some models add to the scores, which cannot be replayed.
        **unused: Whatever else a model passes.

    Returns:
        The output, shape ``(1, n, heads, d)``, and no weights.

    Raises:
        UnsupportedModel: The model adds a position bias.
    """
    refuse_position_bias(module, position_bias)
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    window = kv.sees(layer, attention_mask, sliding_window, prompt=kv.start == 0)
    softcap, s_aux = kv.heeded("softcap", softcap), kv.heeded("s_aux", s_aux)
    keys, values = kv.write(layer, key, value)
    _, heads, n, width = query.shape
    groups = heads // keys.shape[1]
    scale = scaling if scaling is not None else width**-0.5
    scored = softcap is not None or s_aux is not None
    if is_whole_prompt(kv.start, n, window, scored=scored):
        return attend_prompt(query, key, value, scale).transpose(1, 2).contiguous(), None
    parts = []
    rows = _rows_at_once(n, kv.stop, window, heads if scored else groups)
    for begin in range(0, n, rows):
        size = min(rows, n - begin)
        start, stop = kv.start + begin, kv.start + begin + size
        first = first_visible(start, window)
        # query heads that share a key/value head stand side by side
        packed = query.narrow(2, begin, size).reshape(1, keys.shape[1], groups * size, width)
        if n == 1:
            mask = None
        elif size == n:
            mask = kv.mask(window, groups, query.device)
        else:
            mask = causal_mask(start, stop, window, groups, query.device)
        k, v = (cached.narrow(2, first, stop - first) for cached in (keys, values))
        out = attend_packed(packed, k, v, mask, scale, softcap, s_aux, size)
        parts.append(out.reshape(1, heads, size, out.shape[-1]))
    return (parts[0] if len(parts) == 1 else torch.cat(parts, 2)).transpose(1, 2).contiguous(), None


def is_whole_prompt(start: int, n: int, window: int | None, *, scored: bool) -> bool:
    """Return whether n positions from ``start`` see each other alone, all that came before.

    Args:
        start: The first position.
        n: How many there are.
        window: How many positions each sees; None for all.
        scored: Whether scores are changed, by a cap or by sinks.
    """
    return start == 0 and n > 1 and not scored and not (window and n > window)


def attend_prompt(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attend over the positions of a prompt that `is_whole_prompt`, without buffers.

    Shapes are those of `attend`; the output has the query's.
    """
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        is_causal=True,
        scale=scale,
        enable_gqa=query.shape[1] > key.shape[1],
    )


def refuse_position_bias(module: torch.nn.Module, position_bias: torch.Tensor | None) -> None:
    """Raise UnsupportedModel where a model adds a position bias to its scores."""
    if position_bias is not None:
        raise UnsupportedModel(
            f"{type(module).__name__} adds a position bias to its attention, which cannot be "
            "replayed: use another model"
        )


def _rows_at_once(n: int, stop: int, window: int | None, heads: int) -> int:
    """Return how many of n positions are attended at once, so that scores stay `MOST_SCORES`.

    Args:
        n: The positions.
        stop: The position after the last of them.
        window: How many positions each sees; None for all.
        heads: Heads whose scores or masks are made together.
    """
    if not window:
        return max(1, min(n, MOST_SCORES // (heads * stop)))
    if n * min(stop, n + window) * heads <= MOST_SCORES:
        return n
    # rows that stand together see a window and one another
    return max(1, min(n, MOST_SCORES // (2 * heads * window), isqrt(MOST_SCORES // (2 * heads))))


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
        query: Shape ``(b, kv_heads, groups * n, d)``, b = 1 unless sequences are batched.
        keys: Shape ``(b, kv_heads, slots, d)``.
        values: Shape ``(b, kv_heads, slots, d)``.
        mask: Shape ``(groups * n, slots)``, or ``(b, 1, groups * n, slots)``: boolean, or what is
            added to the scores, in their dtype.
        scale: Factor of the scores.
        softcap: Cap of the scores; None for none.
        sinks: Sink logits of the query heads; None for none.
        n: Positions.

    Returns:
        The output, shape ``(b, kv_heads, groups * n, d)``.
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
    sink = sink.expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat([scores, sink], -1), -1)[..., :-1] @ values


AttentionMaskInterface.register(NAME, describe_mask)
