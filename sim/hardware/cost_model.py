"""The cost of work on any device: bytes moved, FLOPs done, kernels started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.launch_regime import FUSED, FUSED_ATTENTION, Regime, small_kernels

GATE_BYTES = 4
"""Bytes of one weight of a gate, which is kept in FP32."""


SPREADING, RESIDUAL = 2, 1
"""More kernels of a head.

One spreads the logits of a shortlist over the vocabulary in two steps, the other adds to the state
what T in int8 adds to it.
"""

SCALE_BYTES = 4
"""Bytes of the scale of a row in int8."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of some work.

    Attributes:
        weights: Bytes of weights read.
        cache: Bytes of keys and values read and written.
        activations: Bytes of activations read and written.
        flops: Multiplications and additions.
        kernels: Kernels that run one after the other.
        small_kernels: Small ones besides, which a production engine fuses into others.
    """

    weights: float = 0.0
    cache: float = 0.0
    activations: float = 0.0
    flops: float = 0.0
    kernels: int = 0
    small_kernels: int = 0

    @property
    def bytes(self) -> float:
        """All bytes that are read or written."""
        return self.weights + self.cache + self.activations

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            weights=self.weights + other.weights,
            cache=self.cache + other.cache,
            activations=self.activations + other.activations,
            flops=self.flops + other.flops,
            kernels=self.kernels + other.kernels,
            small_kernels=self.small_kernels + other.small_kernels,
        )


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """The cost of each piece of work of a model.

    Experts of a mixture count as far as a batch is expected to use them
    (`adadecode.profiles.catalog.layer_shape.LayerShape.touched`). A layer is priced by its own
    numbers, where layers differ.

    Attributes:
        shape: The model.
        weight_bytes: Bytes of one weight (2 for BF16, 1 for INT8 or FP8, 0.5 for INT4).
        other_bytes: Bytes of one weight outside the experts, where only these are packed; as other
            weights where None.
        head_bytes: Bytes of one weight of the LM head and of exit heads, which quantised
            checkpoints keep wide; as other weights where None.
        cache_bytes: Bytes of one number of keys and values.
        activation_bytes: Bytes of one activation.
        form: Form of the exit heads.
        regime: How far kernels are fused.
    """

    shape: ModelShape
    weight_bytes: float = 2.0
    other_bytes: float | None = None
    head_bytes: float | None = None
    cache_bytes: float = 2.0
    activation_bytes: float = 2.0
    form: HeadForm = FULL
    regime: Regime = Regime.ENGINE

    def __post_init__(self) -> None:
        self.form.check_shape(self.shape)

    def layer(self, n_tokens: int, context: int, at: int | None = None) -> Cost:
        """Return the cost of one decoder layer.

        Args:
            n_tokens: Tokens computed at once.
            context: Positions that the last of them attends to; 0 leaves attention out.
            at: Which layer; None where all are alike.

        Raises:
            ShapeError: If none is named and layers differ.
        """
        return self._layer(self.shape.alike if at is None else self._each[at], n_tokens, context)

    @cached_property
    def _each(self) -> tuple[LayerShape, ...]:
        return self.shape.each_layer

    def groups(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield one of the layers start..stop-1 for each kind of layer, and how many are alike."""
        counts = Counter(self._each[start:stop])
        for layer, count in counts.items():
            yield self._each.index(layer, start), count

    def _layer(self, layer: LayerShape, n_tokens: int, context: int) -> Cost:
        """Return the cost of a layer of this kind."""
        shape = self.shape
        seen = layer.seen(context)
        wide = (4 if shape.gated_mlp else 3) * layer.mlp_width
        always = layer.shared + layer.norms
        experts = layer.touched(n_tokens) * layer.expert_parameters
        if self.other_bytes is None:
            weights = (always + experts) * self.weight_bytes
        else:
            weights = always * self.other_bytes + experts * self.weight_bytes
        moved = seen * layer.reads + n_tokens * layer.cache
        return Cost(
            weights=weights,
            cache=(moved + 2 * layer.state) * self.cache_bytes if context else 0.0,
            activations=n_tokens
            * (8 * shape.hidden_size + 4 * layer.attention_width + wide)
            * self.activation_bytes,
            flops=2.0 * n_tokens * layer.multiplied + 2.0 * n_tokens * seen * layer.products,
            **self._kernels("layer", attends=bool(context)),
        )

    def head(self) -> Cost:
        """Return the cost of one check of an exit head in its form.

        The head multiplies with T, then with the LM head or the rows of it on a shortlist.
        """
        shape, form = self.shape, self.form
        rows = form.shortlist or shape.vocab_size
        parameters = shape.head_parameters + rows * shape.head_width
        narrow = parameters + SCALE_BYTES * (shape.hidden_size + rows)
        return Cost(
            weights=parameters * self._head_bytes if form.dtype is None else narrow,
            activations=0.0
            if form.shortlist is None
            else 4.0 * (shape.vocab_size + rows),  # logits in FP32
            flops=2.0 * parameters,
            **self._kernels(
                "head",
                SPREADING * (form.shortlist is not None) + RESIDUAL * (form.dtype is not None),
            ),
        )

    def _kernels(self, kind: str, more: int = 0, *, attends: bool = False) -> dict[str, int]:
        """Return the kernels of a piece of work, ``more`` of them for the form of a head."""
        return {
            "kernels": FUSED[kind] + FUSED_ATTENTION * attends + more,
            "small_kernels": small_kernels(kind, self.regime, attends=attends),
        }

    def gate(self) -> Cost:
        """Return the cost of one question to a gate: the final norm, and a row of weights."""
        width = self.shape.hidden_size
        return Cost(
            weights=GATE_BYTES * (width + 1) + width * self._head_bytes,
            activations=2 * width * self.activation_bytes,
            flops=2.0 * (width + 1),
            **self._kernels("gate"),
        )

    def verify(self, n_tokens: int) -> Cost:
        """Return the cost of final norm, LM head and argmax over n_tokens rows."""
        shape = self.shape
        return Cost(
            weights=shape.lm_head_parameters * self._head_bytes,
            activations=n_tokens
            * (
                shape.hidden_size * self.activation_bytes + 2 * 4 * shape.vocab_size
            ),  # logits in FP32
            flops=2.0 * n_tokens * shape.lm_head_parameters,
            **self._kernels("verify"),
        )

    @property
    def _head_bytes(self) -> float:
        return self.weight_bytes if self.head_bytes is None else self.head_bytes

    def embed(self, n_tokens: int) -> Cost:
        """Return the cost of the embedding of n_tokens."""
        moved = 2 * n_tokens * self.shape.hidden_size * self.activation_bytes
        return Cost(activations=moved, **self._kernels("embed"))

    def prefill(self, n_tokens: int) -> Cost:
        """Return the cost of a prompt of n_tokens: all layers at once, and one row of the LM head.

        A token attends to those before it, within the window.
        """
        total = Cost()
        for layer, count in self.shape.kinds.items():
            one = self._layer(layer, n_tokens, n_tokens)
            # Of the pairs that a layer counts, where every token attends to all or a whole window.
            unseen = layer.seen(n_tokens) ** 2 / 2
            total += Cost(
                weights=count * one.weights,
                cache=count * one.cache,
                activations=count * one.activations,
                flops=count * (one.flops - 2.0 * unseen * layer.products),
                kernels=count * one.kernels,
                small_kernels=count * one.small_kernels,
            )
        return total + self.verify(1)
