"""The cost of work on any device: bytes moved, FLOPs done, kernels started."""

from __future__ import annotations

from dataclasses import dataclass

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.sim.core.head_form import FULL, HeadForm

KERNELS = {"layer": 9, "head": 4, "verify": 3, "embed": 1}
"""Kernels of a piece of work on a GPU with the usual fusions.

A layer has two norms, rotary embedding, four products, an activation and a sum.
"""


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
        kernels: Kernels started one after the other.
    """

    weights: float = 0.0
    cache: float = 0.0
    activations: float = 0.0
    flops: float = 0.0
    kernels: int = 0

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
        )


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """The cost of each piece of work of a model.

    Experts of a mixture count as far as a batch is expected to use them.

    Attributes:
        shape: The model.
        weight_bytes: Bytes of one weight (2 for BF16, 1 for INT8 or FP8, 0.5 for INT4).
        head_bytes: Bytes of one weight of the LM head and of exit heads, which quantised
            checkpoints keep wide; as other weights where None.
        cache_bytes: Bytes of one number of keys and values.
        activation_bytes: Bytes of one activation.
        form: Form of the exit heads.
    """

    shape: ModelShape
    weight_bytes: float = 2.0
    head_bytes: float | None = None
    cache_bytes: float = 2.0
    activation_bytes: float = 2.0
    form: HeadForm = FULL

    def __post_init__(self) -> None:
        self.form.check_shape(self.shape)

    def layer(self, n_tokens: int, context: int) -> Cost:
        """Return the cost of one decoder layer.

        Args:
            n_tokens: Tokens computed at once.
            context: Positions that the last of them attends to; 0 leaves attention out.
        """
        shape = self.shape
        queries, keys = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
        seen = min(context, shape.sliding_window or context)
        touched = (
            shape.attention_parameters
            + shape.router_parameters
            + shape.experts_per_token * shape.expert_parameters
        )
        wide = (4 if shape.gated_mlp else 3) * shape.experts_per_token * shape.intermediate_size
        return Cost(
            weights=shape.active_layer_parameters(n_tokens) * self.weight_bytes,
            cache=(seen + n_tokens) * 2 * keys * self.cache_bytes if context else 0.0,
            activations=n_tokens
            * (8 * shape.hidden_size + 4 * queries + 4 * keys + wide)
            * self.activation_bytes,
            flops=2.0 * n_tokens * touched + 4.0 * n_tokens * seen * queries,
            kernels=KERNELS["layer"] + bool(context),
        )

    def head(self) -> Cost:
        """Return the cost of one check of an exit head in its form.

        The head multiplies with T, then with the LM head or the rows of it on a shortlist.
        """
        shape, form = self.shape, self.form
        rows = form.shortlist or shape.vocab_size
        parameters = shape.head_parameters + rows * shape.hidden_size
        narrow = parameters + SCALE_BYTES * (shape.hidden_size + rows)
        return Cost(
            weights=parameters * self._head_bytes if form.dtype is None else narrow,
            activations=0.0
            if form.shortlist is None
            else 4.0 * (shape.vocab_size + rows),  # logits in FP32
            flops=2.0 * parameters,
            kernels=KERNELS["head"]
            + SPREADING * (form.shortlist is not None)
            + RESIDUAL * (form.dtype is not None),
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
            kernels=KERNELS["verify"],
        )

    @property
    def _head_bytes(self) -> float:
        return self.weight_bytes if self.head_bytes is None else self.head_bytes

    def embed(self, n_tokens: int) -> Cost:
        """Return the cost of the embedding of n_tokens."""
        moved = 2 * n_tokens * self.shape.hidden_size * self.activation_bytes
        return Cost(activations=moved, kernels=KERNELS["embed"])

    def prefill(self, n_tokens: int) -> Cost:
        """Return the cost of a prompt of n_tokens: all layers at once, and one row of the LM head.

        A token attends to those before it, within the window.
        """
        one = self.layer(n_tokens, n_tokens)
        window = min(n_tokens, self.shape.sliding_window or n_tokens)
        # Of the pairs that a layer counts, in which every token attends to all or a whole window.
        unseen = window * window / 2
        layers = self.shape.n_layers
        return Cost(
            weights=layers * one.weights,
            cache=layers * one.cache,
            activations=layers * one.activations,
            flops=layers * (one.flops - 4.0 * unseen * self.shape.n_heads * self.shape.head_dim),
            kernels=layers * one.kernels,
        ) + self.verify(1)
