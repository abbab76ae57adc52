"""The shape of a language model: what bytes and FLOPs are counted from."""

from __future__ import annotations

from dataclasses import dataclass

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
_FLAGS = (
    "tied_embeddings",
    "gated_mlp",
    "qkv_bias",
    "out_bias",
    "mlp_bias",
    "norm_bias",
    "learned_positions",
)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A decoder-only transformer, as far as its weights, its keys and values, and its matmuls go.

    intermediate_size: width of the MLP, of one expert in a mixture. n_kv_heads: below n_heads where queries share keys and values.
    n_experts and experts_per_token: 1 and 1 where there is no mixture. gated_mlp: three matrices instead of two. qkv_bias, out_bias, mlp_bias:
    which matrices add a vector. norms_per_layer over hidden_size, with biases where norm_bias. qk_norm: "head" for norms of one head's
    width on queries and keys, "full" for norms over all heads. sliding_window: positions that *every* layer is limited to, else None.
    max_positions: None where the config does not say. source: where the shape is from.

    All counts of parameters are exact but for what an architecture adds of its own (a bias of the LM head, say). Raises ShapeError for an
    impossible shape.
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

    def __post_init__(self) -> None:
        optional = [
            key for key in ("sliding_window", "max_positions") if getattr(self, key) is not None
        ]
        for key in (*SIZES, "n_experts", "experts_per_token", "norms_per_layer", *optional):
            checked_size(self.name, key, getattr(self, key))
        for key in _FLAGS:
            checked_flag(self.name, key, getattr(self, key))
        if not isinstance(self.source, str):
            raise ShapeError(
                f"{self.name}: source is {self.source!r}: wanted a text that says where the shape is from"
            )
        if self.n_heads % self.n_kv_heads:
            raise ShapeError(
                f"{self.name}: n_heads {self.n_heads} is no multiple of n_kv_heads {self.n_kv_heads}: check both"
            )
        if self.experts_per_token > self.n_experts:
            raise ShapeError(
                f"{self.name}: experts_per_token {self.experts_per_token} of n_experts {self.n_experts}: check both"
            )
        if self.qk_norm not in ("none", "head", "full"):
            raise ShapeError(f"{self.name}: qk_norm is {self.qk_norm!r}: wanted none, head or full")
        if self.learned_positions and self.max_positions is None:
            raise ShapeError(
                f"{self.name} learns its positions, but max_positions is missing: say how many there are"
            )

    @property
    def attention_parameters(self) -> int:
        """Of one layer: the matrices of queries, keys, values and output, their biases, and norms of queries and keys."""
        queries, keys = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        biases = self.qkv_bias * (queries + 2 * keys) + self.out_bias * self.hidden_size
        norms = {"none": 0, "head": 2 * self.head_dim, "full": queries + keys}[self.qk_norm]
        return 2 * self.hidden_size * (queries + keys) + biases + norms

    @property
    def expert_parameters(self) -> int:
        """Of one layer's MLP, or of one of its experts."""
        inward = 2 if self.gated_mlp else 1
        biases = self.mlp_bias * (inward * self.intermediate_size + self.hidden_size)
        return (inward + 1) * self.hidden_size * self.intermediate_size + biases

    @property
    def router_parameters(self) -> int:
        """Of one layer: what picks the experts, 0 where there is no mixture."""
        return self.hidden_size * self.n_experts if self.n_experts > 1 else 0

    @property
    def mlp_parameters(self) -> int:
        """Of one layer: the MLP, or all experts and their router."""
        return self.n_experts * self.expert_parameters + self.router_parameters

    @property
    def norm_parameters(self) -> int:
        """Of one layer: its norms over the hidden state."""
        return self.norms_per_layer * self._final_norm

    @property
    def layer_parameters(self) -> int:
        """Of one layer, all experts counted."""
        return self.attention_parameters + self.mlp_parameters + self.norm_parameters

    def experts_touched(self, n_tokens: int) -> float:
        """Expected number of a layer's experts that ``n_tokens`` tokens use together, each choosing at random: E (1 - (1 - k/E)^n)."""
        return self.n_experts * (1 - (1 - self.experts_per_token / self.n_experts) ** n_tokens)

    def active_layer_parameters(self, n_tokens: int) -> float:
        """Of one layer: what a batch of ``n_tokens`` tokens reads, expected over the choice of experts; layer_parameters where there is no mixture."""
        fixed = self.attention_parameters + self.router_parameters + self.norm_parameters
        return fixed + self.experts_touched(n_tokens) * self.expert_parameters

    @property
    def embedding_parameters(self) -> int:
        """Of the token embedding, and of the positions where they are learned."""
        positions = self.max_positions if self.learned_positions and self.max_positions else 0
        return (self.vocab_size + positions) * self.hidden_size

    @property
    def lm_head_parameters(self) -> int:
        """What the LM head multiplies with, whether it has a matrix of its own or shares the embedding's."""
        return self.vocab_size * self.hidden_size

    @property
    def head_parameters(self) -> int:
        """Of an exit head's own matrix T (hidden_size, hidden_size); its LM head is the model's (paper, section 2.2)."""
        return self.hidden_size**2

    @property
    def total_parameters(self) -> int:
        """Of the whole model, a shared embedding counted once; exit heads not counted."""
        lm_head = 0 if self.tied_embeddings else self.lm_head_parameters
        return (
            self.embedding_parameters
            + self.n_layers * self.layer_parameters
            + self._final_norm
            + lm_head
        )

    @property
    def _final_norm(self) -> int:
        return self.hidden_size * (2 if self.norm_bias else 1)


def checked_size(name: str, key: str, value: object) -> int:
    """The value, once it is a whole number above 0. Raises ShapeError else; ``name`` and ``key`` are for the message."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ShapeError(f"{name}: {key} is {value!r}: wanted a whole number, 1 or more")
    return value


def checked_flag(name: str, key: str, value: object) -> bool:
    """The value, once it is true or false: a text is neither, whatever it says. Raises ShapeError else."""
    if not isinstance(value, bool):
        raise ShapeError(f"{name}: {key} is {value!r}: wanted true or false")
    return value


def default_head_dim(name: str, hidden_size: object, n_heads: object) -> int:
    """hidden_size / n_heads, where a description leaves head_dim out. Raises ShapeError where they do not divide."""
    width, heads = (
        checked_size(name, "hidden_size", hidden_size),
        checked_size(name, "n_heads", n_heads),
    )
    if width % heads:
        raise ShapeError(
            f"{name}: hidden_size {width} is no multiple of n_heads {heads}: check both, or give head_dim"
        )
    return width // heads
