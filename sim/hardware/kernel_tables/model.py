"""What the pieces of work of a model take, from the kernel tables of an engine on a device.

Products and attention come from the tables. Element-wise work is in none of them, and is estimated
from its bytes and kernels, as the engines fuse it. Every time says what it rests on
(`adadecode.sim.hardware.kernel_tables.products.KernelTime`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import InputError, LatencyError, ShapeError
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.hardware.kernel_tables.products import (
    COMPOSED,
    ESTIMATED,
    INTERPOLATED,
    MEASURED,
    KernelTime,
    ProductTimes,
)
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
    """Times of the work of a model. Build it with `of`.

    Attributes:
        tables: The kernel tables.
        shape: The model, of layers that are all alike and without experts.
        device: The device, for what has to be estimated.
        quant: Format of the layers' products.
        products: Times of the layers' products.
        wide: Times of products in `WIDE`, of the LM head and exit heads; None where there are none.
    """

    tables: KernelTables
    shape: ModelShape
    device: Device
    quant: str
    products: ProductTimes
    wide: ProductTimes | None

    @classmethod
    def of(cls, tables: KernelTables, shape: ModelShape, device: Device, quant: str) -> KernelModel:
        """Return the times of a model.

        Args:
            tables: The kernel tables.
            shape: The model.
            device: The device that they are of.
            quant: Format of the layers' products.

        Raises:
            ShapeError: If layers differ, or have experts.
            LatencyError: If the table lacks the format.
        """
        if shape.n_experts > 1 or len(shape.kinds) > 1 or shape.alike.n_experts:
            raise ShapeError(
                f"layers of {shape.name} differ or have experts: only the kernels of layers that "
                "are alike, without experts, can be put together"
            )
        wide = None
        if quant == WIDE or "bfloat16" in tables.formats:
            wide = ProductTimes(table=tables.products(WIDE))
        products = ProductTimes(table=tables.products(quant))
        return cls(
            tables=tables, shape=shape, device=device, quant=quant, products=products, wide=wide
        )

    def layer_products(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return the products of one layer, and its element-wise work.

        Args:
            n_tokens: Tokens computed at once, of any sequences.

        Raises:
            LatencyError: If a product lies beyond the table.
        """
        shape = self.shape
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
        )

    @cached_property
    def contexts(self) -> tuple[int, ...]:
        """Contexts at which attention of one sequence was measured, rising."""
        return tuple(self._decode[self._decode["batch"] == 1]["context"].tolist())

    def attention(self, context: int, batch: int = 1) -> KernelTime:
        """Return the attention of one layer, of one new token of each sequence.

        Args:
            context: Positions of each sequence, the new one included.
            batch: Sequences.

        Raises:
            LatencyError: If batch or context lie beyond the table.
        """
        seen = min(context, self.shape.alike.window or context)
        return _between(self._decode, ("batch", batch), ("context", seen), self._regrouped)

    @cached_property
    def prompts(self) -> tuple[int, ...]:
        """Prompts whose attention and products were measured, rising."""
        known = set(self.products.row_counts)
        return tuple(
            one
            for one in self._prompt[self._prompt["batch"] == 1]["prompt"].tolist()
            if one in known and one <= (self.shape.alike.window or one)
        )

    def prefill(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return a whole prompt, one of `prompts`: all layers, and the first token.

        Raises:
            LatencyError: If a product lies beyond the table.
        """
        rows = self._prompt
        seconds = float(
            rows[(rows["batch"] == 1) & (rows["prompt"] == n_tokens)]["seconds"].iloc[0]
        )
        layer = (
            *self.layer_products(n_tokens),
            KernelTime("attention", seconds, MEASURED, f"prompt {n_tokens}"),
        )
        times = self.shape.n_layers
        whole = tuple(one._replace(seconds=times * one.seconds) for one in layer)
        return (*whole, *self.verify(1))

    def verify(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return the last norm, the LM head and the choice of a token, of n_tokens rows."""
        shape = self.shape
        return (
            self._wide("lm_head", n_tokens, shape.vocab_size, shape.head_width),
            self._guess("norm_and_choice", n_tokens * self._choice_bytes, 2),
        )

    def head(self) -> tuple[KernelTime, ...]:
        """Return one check of an exit head: norm, its own matrix, the LM head and the choice."""
        hidden = self.shape.hidden_size
        return (self._wide("head_matrix", 1, hidden, hidden), *self.verify(1))

    def embed(self, n_tokens: int) -> tuple[KernelTime, ...]:
        """Return the embedding of n_tokens."""
        cost = ModelCost(shape=self.shape).embed(n_tokens)
        return (self._guess("embed", cost.bytes, cost.kernels),)

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

    @property
    def decode_attention(self) -> pd.DataFrame:
        """Rows of batch, context and seconds: attention of one layer, a new token a sequence."""
        return self._decode

    @property
    def prompt_attention(self) -> pd.DataFrame:
        """Rows of batch, prompt and seconds: attention of one layer, whole prompts."""
        return self._prompt

    @property
    def _regrouped(self) -> int:
        """How many sequences of the table stand for one; see `_decode`."""
        return self._heads_apart[0]

    @property
    def _decode(self) -> pd.DataFrame:
        """Attention by batch and context.

        Heads are independent of each other, as sequences are: where the table lacks as many heads
        of keys and values, it is asked for a share of the heads and as many more sequences.
        """
        return self._heads_apart[1]

    @cached_property
    def _heads_apart(self) -> tuple[int, pd.DataFrame]:
        shape, first = self.shape, None
        for times in (one for one in range(1, shape.n_kv_heads + 1) if not shape.n_kv_heads % one):
            try:
                rows = self.tables.decode_attention(
                    n_heads=shape.n_heads // times,
                    n_kv_heads=shape.n_kv_heads // times,
                    head_dim=shape.head_dim,
                ).rows
            except LatencyError as problem:
                first = first or problem
                continue
            rows = rows[rows["batch"] % times == 0]
            if not rows.empty:
                return times, rows.assign(batch=rows["batch"] // times)
        raise first or InputError(f"no attention of {shape.name} in the table: choose another")

    @cached_property
    def _prompt(self) -> pd.DataFrame:
        shape = self.shape
        return self.tables.prompt_attention(
            n_heads=shape.n_heads, n_kv_heads=shape.n_kv_heads, head_dim=shape.head_dim
        ).rows


def _between(
    rows: pd.DataFrame, outer: tuple[str, int], inner: tuple[str, int], regrouped: int
) -> KernelTime:
    """Return the time of attention between the rows around two sizes.

    Raises:
        LatencyError: If one lies beyond the rows.
    """
    found = []
    marks = _around(rows[outer[0]].unique().tolist(), outer)
    for mark in marks:
        line = rows[rows[outer[0]] == mark]
        sizes = line[inner[0]].tolist()
        ends = _around(sizes, inner)
        seconds = float(np.interp(inner[1], sizes, line["seconds"].tolist()))
        found.append((seconds, ends))
    share = (outer[1] - marks[0]) / (marks[-1] - marks[0]) if len(marks) > 1 else 0.0
    seconds = found[0][0] + (found[-1][0] - found[0][0]) * share
    exact = len(marks) == 1 and len(found[0][1]) == 1
    note = ", ".join(
        f"{name} {'..'.join(map(str, ends))}"
        for name, ends in ((outer[0], marks), (inner[0], found[0][1]))
    )
    if regrouped > 1:
        note += f", its heads as {regrouped} sequences"
    basis = (MEASURED if exact else INTERPOLATED) if regrouped == 1 else COMPOSED
    return KernelTime("attention", seconds, basis, note)


def _around(marks: Iterable[int], wanted: tuple[str, int]) -> list[int]:
    """Return the marks on both sides of a size; one where it is a mark itself."""
    name, size = wanted
    rising = sorted(marks)
    if size in rising:
        return [size]
    below, above = [one for one in rising if one < size], [one for one in rising if one > size]
    if not below or not above:
        raise LatencyError(
            f"no attention with {name} {size} in the table: measured were {rising[0]}..{rising[-1]}"
        )
    return [below[-1], above[0]]
