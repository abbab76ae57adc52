"""What the pieces of work of a model take, from the kernel tables of an engine on a device.

Products and attention come from the tables. Element-wise work is in none of them, and is estimated
from its bytes and kernels, as the engines fuse it. Every time says what it rests on
(`adadecode.sim.hardware.kernel_tables.products.KernelTime`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import LatencyError, ShapeError
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.hardware.kernel_tables.attention import AttentionTimes
from adadecode.sim.hardware.kernel_tables.collectives import Collectives
from adadecode.sim.hardware.kernel_tables.products import ESTIMATED, KernelTime, ProductTimes
from adadecode.sim.hardware.kernel_tables.tables import KernelTables
from adadecode.sim.hardware.roofline import UNMEASURED, estimate

WIDE = "bf16"
"""Format of all that is no product of a layer, and of the products of the LM head."""

_BYTES = 2.0
"""Bytes of an activation in it."""

ELEMENTWISE_KERNELS = 5
"""Kernels of a layer besides products and attention, as production engines fuse them.

They are two sums with a norm, the rotary embedding, the copy into the cache and the activation.
"""

_GUESS = f"bytes and kernels, within {UNMEASURED:.0%} either way"


@dataclass(frozen=True, kw_only=True)
class KernelModel:
    """Times of the work of a model, on one device or on several that share it. Build it with `of`.

    Several devices split every layer by heads and by columns of the MLP, and the LM head by rows.
    They sum their states after attention and after the MLP, and gather their logits. The matrix of
    an exit head is whole on each of them, as is all element-wise work.

    Attributes:
        tables: The kernel tables.
        shape: The model, of layers that are all alike and without experts.
        part: The share of it that one device holds.
        device: The device, for what has to be estimated.
        quant: Format of the layers' products.
        products: Times of the layers' products.
        wide: Times of products in `WIDE`, of the LM head and exit heads; None where there are none.
        attention: Times of attention.
        exchanges: What the devices exchange; None for one device.
    """

    tables: KernelTables
    shape: ModelShape
    part: ModelShape
    device: Device
    quant: str
    products: ProductTimes
    wide: ProductTimes | None
    attention: AttentionTimes
    exchanges: Collectives | None

    @classmethod
    def of(
        cls,
        tables: KernelTables,
        shape: ModelShape,
        device: Device,
        *,
        quant: str = WIDE,
        cache: str = WIDE,
        n_devices: int = 1,
    ) -> KernelModel:
        """Return the times of a model.

        Args:
            tables: The kernel tables.
            shape: The model.
            device: The device that they are of.
            quant: Format of the layers' products.
            cache: Format of keys and values.
            n_devices: How many devices share every layer.

        Raises:
            ShapeError: If layers differ or have experts, or cannot be split so.
            LatencyError: If a table lacks a format, or there is none of what devices exchange.
        """
        _check_dense(shape)
        part = share_of(shape, n_devices)
        wide = None
        if quant == WIDE or "bfloat16" in tables.formats:
            wide = ProductTimes(table=tables.products(WIDE))
        return cls(
            tables=tables,
            shape=shape,
            part=part,
            device=device,
            quant=quant,
            products=ProductTimes(table=tables.products(quant)),
            wide=wide,
            attention=AttentionTimes(tables=tables, shape=part, cache=cache),
            exchanges=None if n_devices == 1 else Collectives.of(tables, n_devices),
        )

    @property
    def n_devices(self) -> int:
        """How many devices share every layer."""
        return self.shape.n_heads // self.part.n_heads

    @cached_property
    def row_counts(self) -> tuple[int, ...]:
        """Numbers of tokens whose products, and what devices exchange of them, were measured."""
        return self._reached(self._sums)

    @cached_property
    def choice_counts(self) -> tuple[int, ...]:
        """Numbers of tokens whose LM head, and the logits that devices gather, were measured."""
        return self._reached(self._gathered)

    def _reached(self, exchange: Callable[[str, int], object]) -> tuple[int, ...]:
        """Return the numbers of tokens whose products and whose exchange were measured."""
        found = []
        for n_tokens in self.products.row_counts:
            with suppress(LatencyError):
                exchange("exchange", n_tokens)
                found.append(n_tokens)
        return tuple(found)

    def layer_products(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return the products of one layer, and its element-wise work.

        Args:
            n_tokens: Tokens computed at once, of any sequences.

        Raises:
            LatencyError: If a product lies beyond the table.
        """
        shape = self.part
        queries, keys = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
        wide = (2 if shape.gated_mlp else 1) * shape.intermediate_size
        hidden, inner = shape.hidden_size, shape.intermediate_size
        sizes = (
            ("qkv", queries + 2 * keys, hidden),
            ("attention_out", hidden, queries),
            ("mlp_up", wide, hidden),
            ("mlp_down", hidden, inner),
        )
        moved = 2 * 4 * hidden + 2 * (queries + keys) + 2 * 2 * keys + wide + inner
        return (
            *(self.products.time(name, n_tokens, n, k) for name, n, k in sizes),
            self._guess("elementwise", n_tokens * moved * _BYTES, ELEMENTWISE_KERNELS),
            *self._sums("attention_sum", n_tokens),
            *self._sums("mlp_sum", n_tokens),
        )

    def _gathered(self, part: str, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return the gathering of the logits of some tokens; nothing for one device."""
        if self.exchanges is None:
            return ()
        return (self.exchanges.all_gather(part, n_tokens * self.shape.vocab_size),)

    def _sums(self, part: str, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return a sum of the states of some tokens over all devices; nothing for one device."""
        if self.exchanges is None:
            return ()
        return (self.exchanges.all_reduce(part, n_tokens * self.shape.hidden_size),)

    @cached_property
    def prompts(self) -> tuple[int, ...]:
        """Prompts whose attention and products were measured, rising."""
        rows, known = self.attention.prompts, set(self.row_counts)
        return tuple(
            one
            for one in rows.loc[rows["batch"] == 1, "prompt"].tolist()
            if one in known and one <= (self.shape.alike.window or one)
        )

    def prefill(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return a whole prompt, one of `prompts`: all layers, and the first token.

        Raises:
            LatencyError: If a product lies beyond the table.
        """
        layer = (*self.layer_products(n_tokens), self.attention.prompt_time(n_tokens))
        times = self.shape.n_layers
        whole = tuple(one._replace(seconds=times * one.seconds) for one in layer)
        return (*whole, *self.verify(1))

    def verify(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return the last norm, the LM head and the choice of a token, of n_tokens rows."""
        return (
            self._wide("lm_head", n_tokens, self.part.vocab_size, self.shape.head_width),
            *self._gathered("logits", n_tokens),
            self._guess("norm_and_choice", n_tokens * self._choice_bytes, 2),
        )

    def head(self) -> tuple[KernelTime, ...]:
        """Return one check of an exit head: norm, its own matrix, the LM head and the choice."""
        hidden = self.shape.hidden_size
        return (self._wide("head_matrix", 1, hidden, hidden), *self.verify(1))

    def embed(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return the embedding of n_tokens."""
        cost = ModelCost(shape=self.shape).embed(n_tokens)
        return (
            self._guess("embed", cost.bytes, cost.kernels),
            *self._sums("embed_sum", n_tokens),
        )

    @property
    def _choice_bytes(self) -> float:
        """Bytes of a row of states, which is normed, and of logits in FP32, which are read."""
        return 2 * self.shape.hidden_size * _BYTES + 4.0 * self.shape.vocab_size

    def _guess(self, part: str, moved: float, kernels: int) -> KernelTime:
        middle = estimate(Cost(activations=moved, kernels=kernels), self.device, WIDE).middle
        return KernelTime(part, middle, ESTIMATED, _GUESS)

    def _wide(self, part: str, m: int, n: int, k: int) -> KernelTime:
        """Return a product in the wide format, estimated where the table cannot give it."""
        try:
            if self.wide is not None:
                return self.wide.time_in_parts(part, m, n, k)
        except LatencyError:
            pass
        cost = Cost(weights=_BYTES * n * k, flops=2.0 * m * n * k, kernels=1)
        middle = estimate(cost, self.device, WIDE).middle
        return KernelTime(part, middle, ESTIMATED, f"bytes and FLOPs, {_GUESS}")


def share_of(shape: ModelShape, n_devices: int) -> ModelShape:
    """Return what one of several devices holds of every layer, and of the LM head.

    Heads of keys and values are held by several devices where there are fewer of them. The rows of
    the LM head are rounded up.

    Raises:
        ShapeError: If heads or the MLP's columns cannot be dealt out evenly.
    """
    if n_devices < 1:
        raise ShapeError(f"wanted 1 device or more to share {shape.name}, got {n_devices}")
    keys = shape.n_kv_heads
    uneven = [
        f"{count} {words}"
        for count, words in (
            (shape.n_heads, "heads"),
            (shape.intermediate_size, "columns of the MLP"),
        )
        if count % n_devices
    ]
    if keys % n_devices and n_devices % keys:
        uneven.append(f"{keys} heads of keys and values")
    if uneven:
        raise ShapeError(
            f"{shape.name} has {', '.join(uneven)}, which {n_devices} devices cannot share evenly: "
            "choose another number of devices with --tp"
        )
    return replace(
        shape,
        n_heads=shape.n_heads // n_devices,
        n_kv_heads=max(1, keys // n_devices),
        intermediate_size=shape.intermediate_size // n_devices,
        vocab_size=-(-shape.vocab_size // n_devices),
        n_parameters=None,
    )


def _check_dense(shape: ModelShape) -> None:
    """Refuse a model whose layers cannot be put together. Raises ShapeError."""
    todo = "take a dense model, or its datasheet (adadecode-sim predict datasheet --to DEVICE)"
    experts = max(shape.n_experts, *(layer.n_experts for layer in shape.kinds))
    if experts > 1:
        raise ShapeError(
            f"layers of {shape.name} have {experts} experts: the kernels of mixtures "
            f"(moe_perf.parquet) are not read, only products and attention of dense layers; {todo}"
        )
    if len(shape.kinds) > 1:
        raise ShapeError(
            f"layers of {shape.name} differ ({len(shape.kinds)} kinds): only those of layers that "
            f"are all alike can be put together; {todo}"
        )
