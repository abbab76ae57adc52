"""The shape of a language model, from which bytes and FLOPs are counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from adadecode.profiles.catalog.layer_shape import LayerShape, record_of_layers
from adadecode.profiles.errors import ShapeError

SIZES = (
    "n_layers",
    "hidden_size",
    "intermediate_size",
    "n_heads",
    "n_kv_heads",
    "head_dim",
    "vocab_size",
)
MOST_LAYERS = 1_000
"""As many layers as the deepest transformer that was ever built."""

MOST_SIZE = 10**9
"""A larger width, vocabulary or number of positions than any model has."""

MOST_PARAMETERS = 10**16
"""More parameters than any model has: hundreds of times what one machine holds."""

_OPTIONAL = ("sliding_window", "max_positions", "lm_head_width")
_PARTS = ("layers", "lm_head_width", "n_parameters", "packed", "packed_experts")
"""What only models need whose layers are not all as the sizes say."""

_FLAGS = (
    "tied_embeddings",
    "gated_mlp",
    "qkv_bias",
    "out_bias",
    "mlp_bias",
    "norm_bias",
    "learned_positions",
    "packed_experts",
)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A decoder-only transformer, as far as its weights, its keys and values, and its matmuls go.

    All counts of parameters are exact, except for what an architecture adds of its own, such as a
    bias of the LM head.

    Attributes:
        name: Name of the model.
        n_layers: Decoder layers.
        hidden_size: Width of the hidden state.
        intermediate_size: Width of the MLP; of one expert in a mixture.
        n_heads: Attention heads.
        n_kv_heads: Heads of keys and values; below ``n_heads`` where queries share them.
        head_dim: Width of one attention head.
        vocab_size: Tokens of the vocabulary.
        tied_embeddings: Whether the LM head shares the matrix of the embedding.
        n_experts: Experts of a layer; 1 where there is no mixture.
        experts_per_token: Experts that one token uses; 1 where there is no mixture.
        gated_mlp: Whether the MLP has three matrices instead of two.
        qkv_bias: Whether queries, keys and values have a bias.
        out_bias: Whether the output of attention has one.
        mlp_bias: Whether the MLP has one.
        norms_per_layer: Norms over ``hidden_size`` in a layer.
        norm_bias: Whether norms have a bias.
        qk_norm: Norms of queries and keys: ``head`` over one head's width, ``full`` over all heads,
            or ``none``.
        learned_positions: Whether positions are learned.
        sliding_window: Positions that *every* layer is limited to, or None.
        max_positions: Most positions; None where the config does not say.
        source: Where the shape is from.
        layers: Each layer, where layers differ or are of other parts than those above, which then
            say what its attention is like. Empty where all layers are alike.
        lm_head_width: Width of what the LM head multiplies with, where it is not ``hidden_size``.
        n_parameters: Parameters of the whole model, where parts of it are not described here.
        packed: Format that the checkpoint packs matrices in (`adadecode.sim.hardware.memory`), or
            None.
        packed_experts: Whether only the experts are packed, and no other matrices.

    Raises:
        ShapeError: If the shape is impossible.
    """

    name: str
    n_layers: int
    hidden_size: int
    intermediate_size: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    tied_embeddings: bool = False
    n_experts: int = 1
    experts_per_token: int = 1
    gated_mlp: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    norms_per_layer: int = 2
    norm_bias: bool = False
    qk_norm: str = "none"
    learned_positions: bool = False
    sliding_window: int | None = None
    max_positions: int | None = None
    source: str = ""
    layers: tuple[LayerShape, ...] = ()
    lm_head_width: int | None = None
    n_parameters: int | None = None
    packed: str | None = None
    packed_experts: bool = False

    def __post_init__(self) -> None:
        optional = [key for key in _OPTIONAL if getattr(self, key) is not None]
        for key in (*SIZES, "n_experts", "experts_per_token", "norms_per_layer", *optional):
            checked_size(self.name, key, getattr(self, key))
        for key in _FLAGS:
            checked_flag(self.name, key, getattr(self, key))
        if not isinstance(self.name, str):
            raise ShapeError(f"the name of a model is {self.name!r}: wanted a text")
        if not isinstance(self.source, str):
            raise ShapeError(
                f"{self.name}: source is {self.source!r}: "
                "wanted a text that says where the shape is from"
            )
        if self.n_heads % self.n_kv_heads:
            raise ShapeError(
                f"{self.name}: n_heads {self.n_heads} is no multiple of n_kv_heads "
                f"{self.n_kv_heads}: check both"
            )
        if self.experts_per_token > self.n_experts:
            raise ShapeError(
                f"{self.name}: experts_per_token {self.experts_per_token} of n_experts "
                f"{self.n_experts}: check both"
            )
        if self.qk_norm not in ("none", "head", "full"):
            raise ShapeError(f"{self.name}: qk_norm is {self.qk_norm!r}: wanted none, head or full")
        if self.learned_positions and self.max_positions is None:
            raise ShapeError(
                f"{self.name} learns its positions, but max_positions is missing: "
                "give how many there are"
            )
        self._check_parts()
        if self.n_layers > MOST_LAYERS or self.total_parameters > MOST_PARAMETERS:
            raise ShapeError(
                f"{self.name}: {self.n_layers} layers and {self.total_parameters:.3g} parameters: "
                f"wanted at most {MOST_LAYERS} and {MOST_PARAMETERS:.0g}, so check the sizes"
            )

    def _check_parts(self) -> None:
        """Raise ShapeError for parts that cannot be."""
        if self.layers and len(self.layers) != self.n_layers:
            raise ShapeError(
                f"{self.name} has {self.n_layers} layers, {len(self.layers)} are described: "
                "describe each"
            )
        if (
            self.n_parameters is not None
            and not 1 <= checked_count(self.name, self.n_parameters) <= MOST_PARAMETERS
        ):
            raise ShapeError(f"{self.name}: n_parameters is {self.n_parameters}: check it")
        if self.packed is not None and not isinstance(self.packed, str):
            raise ShapeError(f"{self.name}: packed is {self.packed!r}: wanted the name of a format")

    @property
    def attention_parameters(self) -> int:
        """Parameters of one layer's attention.

        The matrices of queries, keys, values and output, their biases, and the norms of queries and
        keys.
        """
        queries, keys = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        biases = self.qkv_bias * (queries + 2 * keys) + self.out_bias * self.hidden_size
        norms = {"none": 0, "head": 2 * self.head_dim, "full": queries + keys}[self.qk_norm]
        return 2 * self.hidden_size * (queries + keys) + biases + norms

    @property
    def expert_parameters(self) -> int:
        """Parameters of one layer's MLP, or of one of its experts."""
        inward = 2 if self.gated_mlp else 1
        biases = self.mlp_bias * (inward * self.intermediate_size + self.hidden_size)
        return (inward + 1) * self.hidden_size * self.intermediate_size + biases

    @property
    def router_parameters(self) -> int:
        """Parameters of one layer's router, which picks experts; 0 where there is no mixture."""
        return self.hidden_size * self.n_experts if self.n_experts > 1 else 0

    @property
    def mlp_parameters(self) -> int:
        """Parameters of one layer's MLP, or of all its experts and their router."""
        return self.n_experts * self.expert_parameters + self.router_parameters

    @property
    def norm_parameters(self) -> int:
        """Parameters of one layer's norms over the hidden state."""
        return self.norms_per_layer * self._final_norm

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer, all experts counted."""
        return self.attention_parameters + self.mlp_parameters + self.norm_parameters

    @property
    def alike(self) -> LayerShape:
        """A layer of a model whose layers are all alike, as its sizes say.

        Raises:
            ShapeError: If layers differ.
        """
        if self.layers and len(set(self.layers)) > 1:
            raise ShapeError(f"layers of {self.name} differ: name one of them")
        if self.layers:
            return self.layers[0]
        queries, keys = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        mixed = self.n_experts > 1
        return LayerShape(
            shared=self.attention_parameters
            + (self.router_parameters if mixed else self.expert_parameters),
            norms=self.norm_parameters,
            n_experts=self.n_experts if mixed else 0,
            experts_per_token=self.experts_per_token if mixed else 0,
            expert_parameters=self.expert_parameters if mixed else 0,
            cache=2 * keys,
            reads=2 * keys,
            products=2 * queries,
            window=self.sliding_window,
            attention_width=queries + keys,
            mlp_width=self.experts_per_token * self.intermediate_size,
        )

    @property
    def each_layer(self) -> tuple[LayerShape, ...]:
        """Every layer, in order."""
        return self.layers or (self.alike,) * self.n_layers

    @property
    def kinds(self) -> dict[LayerShape, int]:
        """The different layers, and how many there are of each."""
        return dict(Counter(self.layers)) if self.layers else {self.alike: self.n_layers}

    @property
    def windows(self) -> tuple[int, ...]:
        """The windows of layers, rising; empty where every layer sees all positions."""
        return tuple(sorted({layer.window for layer in self.kinds if layer.window is not None}))

    @property
    def sight(self) -> int | tuple[int, ...] | None:
        """Positions that layers see: one number for all, or one for each; None for all positions.

        A layer without attention sees none.
        """
        if not self.layers:
            return self.sliding_window
        each = tuple((layer.window or MOST_SIZE) if layer.reads else 0 for layer in self.each_layer)
        return None if set(each) == {MOST_SIZE} else each[0] if len(set(each)) == 1 else each

    @property
    def active_parameters(self) -> int:
        """Parameters that one token multiplies with or is normed by: layers, norm and LM head."""
        layers = sum(
            count * (layer.multiplied + layer.norms) for layer, count in self.kinds.items()
        )
        return layers + self._final_norm + self.lm_head_parameters

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the token embedding, and of the positions where they are learned."""
        positions = self.max_positions if self.learned_positions and self.max_positions else 0
        return (self.vocab_size + positions) * self.hidden_size

    @property
    def lm_head_parameters(self) -> int:
        """Parameters that the LM head multiplies with, its own or those of the embedding."""
        return self.vocab_size * self.head_width

    @property
    def head_width(self) -> int:
        """Width of what the LM head multiplies with."""
        return self.lm_head_width or self.hidden_size

    @property
    def head_parameters(self) -> int:
        """Parameters of an exit head's own matrix T, of (hidden_size, hidden_size).

        The LM head that it uses is the model's (paper, section 2.2).
        """
        return self.hidden_size**2

    @property
    def total_parameters(self) -> int:
        """Parameters of the whole model without exit heads; a shared embedding is counted once."""
        if self.n_parameters is not None:
            return self.n_parameters
        lm_head = 0 if self.tied_embeddings else self.lm_head_parameters
        return (
            self.embedding_parameters
            + sum(count * layer.parameters for layer, count in self.kinds.items())
            + self._final_norm
            + lm_head
        )

    def same_work(self, other: ModelShape) -> bool:
        """Return whether two shapes move the same bytes, however they say it."""
        sizes = ("n_layers", "hidden_size", "lm_head_parameters", "total_parameters")
        return all(getattr(self, one) == getattr(other, one) for one in sizes) and all(
            mine.same_work(theirs)
            for mine, theirs in zip(self.each_layer, other.each_layer, strict=True)
        )

    def record(self) -> dict[str, Any]:
        """Return the shape as JSON holds it, a value for each field.

        What only some models need is left out of the others.
        """
        found = {key: value for key, value in asdict(self).items() if key not in _PARTS}
        return found | {
            key: record_of_layers(self.layers) if key == "layers" else value
            for key in _PARTS
            if (value := getattr(self, key))
        }

    @property
    def _final_norm(self) -> int:
        return self.hidden_size * (2 if self.norm_bias else 1)


def checked_size(name: str, key: str, value: object) -> int:
    """Return the value, once it is a whole number in 1..`MOST_SIZE`.

    Args:
        name: Name of the model, for the message.
        key: Name of the value, for the message.
        value: The value.

    Raises:
        ShapeError: If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ShapeError(f"{name}: {key} is {value!r}: wanted a whole number, 1 or more")
    if value > MOST_SIZE:
        raise ShapeError(f"{name}: {key} is over {MOST_SIZE}, more than any model has: check it")
    return value


def checked_count(name: str, value: object) -> int:
    """Return the value, once it is a whole number. Raises ShapeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ShapeError(f"{name}: n_parameters is {value!r}: wanted a whole number")
    return value


def checked_flag(name: str, key: str, value: object) -> bool:
    """Return the value, once it is true or false. A text is neither, whatever it says.

    Args:
        name: Name of the model, for the message.
        key: Name of the value, for the message.
        value: The value.

    Raises:
        ShapeError: If it is anything else.
    """
    if not isinstance(value, bool):
        raise ShapeError(f"{name}: {key} is {value!r}: wanted true or false")
    return value


def default_head_dim(name: str, hidden_size: object, n_heads: object) -> int:
    """Return hidden_size / n_heads, for a description that leaves head_dim out.

    Args:
        name: Name of the model, for the message.
        hidden_size: Width of the hidden state.
        n_heads: Attention heads.

    Raises:
        ShapeError: If one does not divide the other.
    """
    width, heads = (
        checked_size(name, "hidden_size", hidden_size),
        checked_size(name, "n_heads", n_heads),
    )
    if width % heads:
        raise ShapeError(
            f"{name}: hidden_size {width} is no multiple of n_heads {heads}: "
            "check both, or give head_dim"
        )
    return width // heads
