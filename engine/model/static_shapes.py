"""Segments in static shapes: what a CUDA graph captures and a compiler compiles, and the same path without either.

A batch of n <= 8 tokens is padded to 1, 2, 4 or 8 rows. Positions come as tensors: keys and values are written by index, layer arguments gathered by
index, and every row attends over one length bucket under a mask made from the positions. Padding rows write into slots beyond the batch, which
causality hides and later tokens overwrite before reading; the buffers have spare slots, so that they may do so at the very end. Prompts and larger
batches run eagerly, the latter with a message.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from transformers import AttentionInterface, PreTrainedModel

from adadecode.engine.model.attention import KeyValues, attend_packed, implemented
from adadecode.engine.model.segmented_model import Follow, Room, SegmentedModel
from adadecode.engine.model.stand_in import Call
from adadecode.engine.runtime.timer import Clock

SIZES = (1, 2, 4, 8)
"""Rows of a static pass."""
SPARE = SIZES[-1] - 1
"""Slots beyond the last position, for padding rows."""

_NAME = "adadecode-static"


def size_of(n: int) -> int:
    """The rows that n <= 8 tokens are padded to."""
    return next(size for size in SIZES if size >= n)


def padded(hidden: torch.Tensor) -> torch.Tensor:
    """Hidden (1, n, d), n <= 8, with as many rows as its pass has."""
    n = hidden.shape[1]
    return hidden if size_of(n) == n else F.pad(hidden, (0, 0, 0, size_of(n) - n))


def bucket_of(stop: int, slots: int, *, doubling: bool) -> int:
    """The slots that are attended over where the first ``stop`` are needed, of ``slots`` there are: a multiple of 64, or a power of two from 128 on."""
    if doubling:
        return min(slots, max(128, 1 << (stop - 1).bit_length()))
    return min(slots, -(-stop // 64) * 64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One static pass.

    slots (N,): where keys and values go. masks: by window, what is added to the scores of each row (N, bucket): 0 where it sees a slot, minus infinity
    elsewhere; a bool mask would be made into one by every layer. leaves: the distinct tensors among the layers' arguments, at these positions. keys,
    values: by layer (1, kv_heads, slots, head_dim).
    """

    slots: torch.Tensor
    masks: dict[int | None, torch.Tensor]
    leaves: Sequence[torch.Tensor]
    keys: Sequence[torch.Tensor | None] | dict[int, torch.Tensor]
    values: Sequence[torch.Tensor | None] | dict[int, torch.Tensor]
    _repeated: dict[tuple[int | None, int, torch.dtype], torch.Tensor] = field(default_factory=dict)

    @property
    def bucket(self) -> int:
        """Slots that are attended over."""
        return next(iter(self.masks.values())).shape[-1]

    def mask(self, window: int | None, groups: int, dtype: torch.dtype) -> torch.Tensor:
        """The mask for query heads of this dtype packed by ``groups``: (groups * N, bucket), shared by the layers."""
        found = self._repeated.get((window, groups, dtype))
        if found is None:
            found = self._repeated[window, groups, dtype] = (
                self.masks[window].to(dtype).repeat(groups, 1)
            )
        return found


@dataclass(frozen=True, eq=False)
class Argument:
    """Stands for a tensor among a layer's arguments: number ``index`` of the distinct ones."""

    index: int


class Arguments:
    """The recorded layer arguments of one room, ready to be gathered by position."""

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
                        leaves[at] = Argument(numbers[id(leaf)])
                seen[key] = (leaves, spec)
            self.layers.append(seen[key])

    def gather(self, positions: torch.Tensor) -> list[torch.Tensor]:
        """The distinct tensors at these positions (N,)."""
        found = []
        for tensor, axes in zip(self.tensors, self.axes, strict=True):
            cut = tensor
            for axis in axes:
                cut = cut.index_select(axis, positions)
            found.append(cut)
        return found

    def used(self, layer: int) -> list[int]:
        """The numbers of the tensors that a layer is given, in order, each once."""
        leaves, _ = self.layers[layer]
        return list(dict.fromkeys(leaf.index for leaf in leaves if isinstance(leaf, Argument)))

    def call(self, layer: int, gathered: Sequence[torch.Tensor] | dict[int, torch.Tensor]) -> Call:
        """A layer's arguments, from what ``gather`` returned."""
        leaves, spec = self.layers[layer]
        return pytree.tree_unflatten(
            [gathered[leaf.index] if isinstance(leaf, Argument) else leaf for leaf in leaves], spec
        )


class StaticModel(SegmentedModel):
    """A causal LM taken apart whose decode steps have static shapes. Raises UnsupportedModel.

    fallbacks: each is told once as a warning.
    """

    doubling = False
    """Whether buckets are few (powers of two): each is captured by itself."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.static = False
        self._arguments_of: WeakKeyDictionary[KeyValues, Arguments] = WeakKeyDictionary()
        self._latest: tuple[KeyValues, int, int, Step] | None = None
        super().__init__(model)
        self._shapes = [
            None
            if k is None or v is None
            else (k.shape[1], k.shape[3], v.shape[3], k.dtype, k.device)
            for k, v in zip(self.kv.keys, self.kv.values, strict=True)
        ]
        self.windows: dict[int, int | None] = {
            layer: window or None for layer, window in self.kv.windows.items()
        }
        if len(self.devices) > 1:
            self.fall_back(
                f"{self.name} is spread over {len(self.devices)} devices, so it runs eagerly"
            )
            return
        self.static = True
        self.detach()
        self.windows_seen = sorted(set(self.windows.values()), key=lambda w: w or 0)

    def fall_back(self, why: str) -> None:
        """Tell once that something runs in another way than was asked for."""
        if why not in self.fallbacks:
            self.fallbacks.append(why)
            warnings.warn(why, stacklevel=2)

    def buffers(self, capacity: int) -> KeyValues:
        """Keys and values of ``capacity`` positions, and spare slots for padding rows."""
        kv = super().buffers(capacity)
        if self.static:
            kv.reserve(self._shapes, SPARE)  # type: ignore[arg-type]
        return kv

    def detach(self) -> Room:
        """Hand out the buffers and their arguments; the next ``allocate`` finds or makes others."""
        self.forget()
        return super().detach()

    def forget(self) -> None:
        """Drop the latest pass: positions, masks and gathered arguments."""
        self._latest = None

    def arguments_of(self, kv: KeyValues) -> Arguments:
        """The recorded arguments that belong to these buffers, which must be the present ones."""
        found = self._arguments_of.get(kv)
        if found is None:
            found = self._arguments_of[kv] = Arguments(self._calls, kv.capacity)
        return found

    def step(self, start: int, size: int) -> Step:
        """The pass over positions [start, start + size)."""
        kv, latest = self.kv, self._latest
        if latest is not None and latest[0] is kv and latest[1:3] == (start, size):
            return latest[3]
        bucket = bucket_of(start + size, kv.slots, doubling=self.doubling)
        made = self.step_at(torch.arange(start, start + size, device=self.device), bucket)
        self._latest = (kv, start, size, made)
        return made

    def step_at(self, slots: torch.Tensor, bucket: int) -> Step:
        """The pass over the positions ``slots`` (N,), a tensor, attending over ``bucket`` slots."""
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
        return Step(slots=slots, masks=masks, leaves=leaves, keys=kv.keys, values=kv.values)

    def prepare(self, segments: Sequence[tuple[int, int]], longest: int, follow: Follow) -> None:
        """Run these segments and what follows them once at every size and, where that matters, bucket. There must be room; slots are overwritten."""
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
        """Where passes of so many rows end at the latest, padding rows beyond ``longest`` included, and in every shorter bucket."""
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
        """Layers [first, last) on hidden (1, n, d) of positions start.. ; a start of 0 is a prompt's, and runs eagerly."""
        n = hidden.shape[1]
        if not self.static or start == 0 or n > SIZES[-1]:
            if self.static and start > 0:
                self.fall_back(
                    f"batches of more than {SIZES[-1]} tokens of {self.name} run eagerly, their layers and what follows them: a cap of"
                    f" {SIZES[-1] - 1} drafts or less has none"
                )
            return super().run(first, last, hidden, start, clock)
        with in_static_shapes(self.config):
            return self.run_padded(first, last, padded(hidden), start, clock)[:, :n]

    def run_padded(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None
    ) -> torch.Tensor:
        """Layers [first, last) on hidden (1, N, d), N one of SIZES."""
        step = self.step(start, hidden.shape[1])
        if clock is not None:
            clock.mark()
        for index in range(first, last):
            hidden = self.layer(index, hidden, step)
            if clock is not None:
                clock.mark()
        return hidden

    def layer(self, index: int, hidden: torch.Tensor, step: Step) -> torch.Tensor:
        """One layer on hidden (1, N, d)."""
        args, kwargs = self.arguments_of(self.kv).call(index, step.leaves)
        return self.call_layer(index, hidden, step, args, kwargs)

    def call_layer(
        self, index: int, hidden: torch.Tensor, step: Step, args: Any, kwargs: Any
    ) -> torch.Tensor:
        """One layer as the model has it. Use within ``in_static_shapes``."""
        with passing(step):
            out = self.layers[index](hidden, *args, **kwargs)
        return out[0] if isinstance(out, tuple) else out


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where a bool mask holds, minus infinity elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -math.inf)


_passing: list[Step] = []


@contextmanager
def passing(step: Step) -> Iterator[None]:
    """Within: layers that are called compute this pass."""
    _passing.append(step)
    try:
        yield
    finally:
        _passing.pop()


@contextmanager
def in_static_shapes(config: Any) -> Iterator[None]:
    """Within: the layers of a model with this configuration attend in static shapes."""
    with implemented(config, _NAME):
        yield


def attend_static(
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
    """Attention of one static pass. query (1, heads, N, d), key and value (1, kv_heads, N, d); returns (1, N, heads, d)."""
    step, layer = _passing[-1], int(module.layer_idx)  # type: ignore[arg-type]
    keys, values = step.keys[layer], step.values[layer]
    assert keys is not None
    assert values is not None
    keys.index_copy_(2, step.slots, key)
    values.index_copy_(2, step.slots, value)
    _, heads, n, width = query.shape
    kv_heads = keys.shape[1]
    groups = heads // kv_heads
    scale = scaling if scaling is not None else width**-0.5
    mask = step.mask(sliding_window or None, groups, query.dtype)
    bucket = mask.shape[-1]
    keys, values = keys.narrow(2, 0, bucket), values.narrow(2, 0, bucket)
    packed = query.reshape(1, kv_heads, groups * n, width)
    out = attend_packed(packed, keys, values, mask, scale, softcap, s_aux, n)
    return out.reshape(1, heads, n, out.shape[-1]).transpose(1, 2), None


AttentionInterface.register(_NAME, attend_static)
