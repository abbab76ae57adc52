"""Segments in static shapes: what a CUDA graph captures and a compiler compiles, or runs eagerly.

A batch of n <= 8 tokens is padded to 1, 2, 4 or 8 rows. Positions come as tensors: keys and values
are written by index, layer arguments gathered by index, and every row attends over one length
bucket under a mask made from the positions. Padding rows write into slots beyond the batch, which
causality hides and later tokens overwrite before reading. The buffers have spare slots, so that
they may do so at the very end. Prompts and larger batches run eagerly, the latter with a message.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from adadecode.engine.model.attention import KeyValues, attend_packed
from adadecode.engine.model.padding import SIZES, SPARE, bucket_of, padded
from adadecode.engine.model.segmented_model import Follow, Room, SegmentedModel
from adadecode.engine.model.static_pass import LayerArguments, StaticPass
from adadecode.engine.runtime.timer import Clock


class StaticModel(SegmentedModel):
    """A causal LM taken apart whose decode steps have static shapes.

    Each of its ``fallbacks`` is a warning too, once.

    Raises:
        UnsupportedModel: The model cannot be taken apart exactly; the message names it.
    """

    doubling = False
    """Whether buckets are few (powers of two), because each is captured by itself."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.static = False
        self._arguments_of: WeakKeyDictionary[KeyValues, LayerArguments] = WeakKeyDictionary()
        self._latest: tuple[KeyValues, int, int, StaticPass] | None = None
        super().__init__(model)
        self._shapes = [
            None
            if k is None or v is None
            else (k.shape[1], k.shape[3], v.shape[3], k.dtype, k.device)
            for k, v in zip(self.kv.keys, self.kv.values, strict=True)
        ]
        if len(self.devices) > 1:
            self.fall_back(
                f"{self.name} is spread over {len(self.devices)} devices, so it runs eagerly"
            )
            return
        self.static = True
        self.detach()
        self.windows_seen = sorted(set(self.windows.values()), key=lambda w: w or 0)

    def fall_back(self, why: str) -> None:
        """Warn once that something runs in another way than was requested."""
        if why not in self.fallbacks:
            self.fallbacks.append(why)
            warnings.warn(why, stacklevel=2)

    def buffers(self, capacity: int) -> KeyValues:
        """Return buffers of ``capacity`` positions, with spare slots for padding rows."""
        kv = super().buffers(capacity)
        if self.static:
            kv.reserve(self._shapes, SPARE)  # type: ignore[arg-type]
        return kv

    def detach(self) -> Room:
        """Hand out the room in use; the next ``allocate`` finds or makes another."""
        self.forget()
        return super().detach()

    def forget(self) -> None:
        """Drop the latest pass: positions, masks and gathered arguments."""
        self._latest = None

    def arguments_of(self, kv: KeyValues) -> LayerArguments:
        """Return the recorded arguments that belong to these buffers, those in use."""
        found = self._arguments_of.get(kv)
        if found is None:
            found = self._arguments_of[kv] = LayerArguments(self._calls, kv.capacity)
        return found

    def step(self, start: int, size: int) -> StaticPass:
        """Return the pass over positions [start, start + size)."""
        kv, latest = self.kv, self._latest
        if latest is not None and latest[0] is kv and latest[1:3] == (start, size):
            return latest[3]
        bucket = bucket_of(start + size, kv.slots, doubling=self.doubling)
        made = self.step_at(torch.arange(start, start + size, device=self.device), bucket)
        self._latest = (kv, start, size, made)
        return made

    def step_at(self, slots: torch.Tensor, bucket: int) -> StaticPass:
        """Return the pass over positions ``(N,)`` that attends over ``bucket`` slots."""
        kv = self.kv
        seen = torch.arange(bucket, device=slots.device)[None]
        query = slots[:, None]
        causal = seen <= query
        visible = {
            window: causal & (seen > query - window) if window else causal
            for window in self.windows_seen
        }
        masks = {window: _additive(mask, self.dtype) for window, mask in visible.items()}
        leaves = self.arguments_of(kv).gather(slots.clamp(max=kv.capacity - 1))
        return StaticPass(slots=slots, masks=masks, leaves=leaves, keys=kv.keys, values=kv.values)

    def prepare(self, segments: Sequence[tuple[int, int]], longest: int, follow: Follow) -> None:
        """Run segments and what follows them once at every size and, where that matters, bucket.

        Slots are overwritten. Arguments are those of `SegmentedModel.prepare`.
        """
        if not self.static:
            return
        passes = {
            (stop, size) for size in SIZES for stop in self._stops(longest, size) if size < stop
        }
        with self.session():
            for stop, size in sorted(passes, reverse=True):
                for first, last in segments:
                    hidden = torch.zeros(
                        (1, size, self.hidden_size), dtype=self.dtype, device=self.device
                    )
                    follow(last, self.run(first, last, hidden, stop - size))

    def _stops(self, longest: int, size: int) -> list[int]:
        """Return where passes of ``size`` rows end at the latest, in every bucket.

        Padding rows that lie beyond ``longest`` are included.
        """
        last = longest + max(
            0, size // 2 - 1
        )  # size // 2 + 1 tokens are the fewest that are padded to it
        return (
            [*(1 << k for k in range(7, (last - 1).bit_length())), last]
            if self.doubling
            else [last]
        )

    def run(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None = None
    ) -> torch.Tensor:
        """Run layers [first, last); see `SegmentedModel.run`.

        A start of 0 is a prompt's: it runs eagerly.
        """
        n = hidden.shape[1]
        if not self.static or start == 0 or n > SIZES[-1]:
            if self.static and start > 0:
                self.fall_back(
                    f"batches of more than {SIZES[-1]} tokens of {self.name} run eagerly, their "
                    "layers and what follows them: a cap of"
                    f" {SIZES[-1] - 1} drafts or less has none"
                )
            return super().run(first, last, hidden, start, clock)
        return self.run_padded(first, last, padded(hidden), start, clock)[:, :n]

    def run_padded(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None
    ) -> torch.Tensor:
        """Run layers [first, last) on hidden states ``(1, N, d)``, N one of `SIZES`."""
        step = self.step(start, hidden.shape[1])
        if clock is not None:
            clock.mark()
        for index in range(first, last):
            hidden = self.layer(index, hidden, step)
            if clock is not None:
                clock.mark()
        return hidden

    def layer(self, index: int, hidden: torch.Tensor, step: StaticPass) -> torch.Tensor:
        """Run one layer on hidden states ``(1, N, d)``."""
        args, kwargs = self.arguments_of(self.kv).call(index, step.leaves)
        return self.call_layer(index, hidden, step, args, kwargs)

    def call_layer(
        self, index: int, hidden: torch.Tensor, step: StaticPass, args: Any, kwargs: Any
    ) -> torch.Tensor:
        """Run one layer as the model has it."""
        with self.attending(partial(attend_static, self.kv, step), 1):
            out = self.served_layer(index)(hidden, *args, **kwargs)
        return out[0] if isinstance(out, tuple) else out


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return 0 where a boolean mask holds and minus infinity elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -math.inf)


def attend_static(
    kv: KeyValues,
    step: StaticPass,
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
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """Attend in one static pass.

    Arguments beyond the pass are those of `adadecode.engine.model.attention.attend`.

    Returns:
        The output, shape ``(1, N, heads, d)``, and no weights.
    """
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    window = kv.sees(layer, attention_mask, sliding_window)
    softcap, s_aux = kv.heeded("softcap", softcap), kv.heeded("s_aux", s_aux)
    keys, values = step.keys[layer], step.values[layer]
    assert keys is not None
    assert values is not None
    keys.index_copy_(2, step.slots, key)
    values.index_copy_(2, step.slots, value)
    _, heads, n, width = query.shape
    kv_heads = keys.shape[1]
    groups = heads // kv_heads
    scale = scaling if scaling is not None else width**-0.5
    mask = step.mask(window, groups, query.dtype)
    bucket = mask.shape[-1]
    keys, values = keys.narrow(2, 0, bucket), values.narrow(2, 0, bucket)
    packed = query.reshape(1, kv_heads, groups * n, width)
    out = attend_packed(packed, keys, values, mask, scale, softcap, s_aux, n)
    return out.reshape(1, heads, n, out.shape[-1]).transpose(1, 2).contiguous(), None
