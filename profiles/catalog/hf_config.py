"""Read the shape of a model from its Hugging Face config.

What transformers assumes for a key that a config leaves out is kept here for each model_type. Sizes
are never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adadecode.profiles.catalog.model_shape import (
    ModelShape,
    checked_flag,
    checked_size,
    default_head_dim,
)
from adadecode.profiles.errors import ShapeError, nearest

# Keys that configs use for each of our sizes.
_SPELLINGS = {
    "n_layers": ("num_hidden_layers", "n_layer"),
    "hidden_size": ("hidden_size", "n_embd"),
    "intermediate_size": ("intermediate_size",),
    "expert_size": ("moe_intermediate_size",),
    "n_heads": ("num_attention_heads", "n_head"),
    "n_kv_heads": ("num_key_value_heads", "num_kv_heads", "num_query_groups"),
    "head_dim": ("head_dim", "kv_channels"),
    "vocab_size": ("vocab_size",),
    "max_positions": ("max_position_embeddings", "n_positions"),
    "n_experts": ("num_local_experts", "num_experts"),
    "experts_per_token": ("num_experts_per_tok",),
}


@dataclass(frozen=True, kw_only=True)
class _Family:
    """How the layers of one model_type are built.

    Attributes:
        qkv_bias: Whether queries, keys and values have a bias, or the key of the config that says.
        out_bias: The same for the output of attention.
        mlp_bias: The same for the MLP.
        gated_mlp: Whether the MLP has three matrices instead of two.
        norms_per_layer: Norms over the hidden state in a layer.
        norm_bias: Whether norms have a bias.
        qk_norm: Norms of queries and keys, as in `ModelShape`.
        learned_positions: Whether positions are learned.
        slides: Whether every layer is limited to the sliding window, where there is one.
        defaults: What a config of this type means by a key that it leaves out.
    """

    qkv_bias: bool | str = False
    out_bias: bool | str = False
    mlp_bias: bool | str = False
    gated_mlp: bool = True
    norms_per_layer: int = 2
    norm_bias: bool = False
    qk_norm: str = "none"
    learned_positions: bool = False
    slides: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _llama(**defaults: object) -> _Family:
    biases = {"attention_bias": False, "mlp_bias": False}
    return _Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        mlp_bias="mlp_bias",
        defaults=biases | defaults,
    )


def _qwen3(**defaults: object) -> _Family:
    return _Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        qk_norm="head",
        defaults={"attention_bias": False, "head_dim": 128} | defaults,
    )


_BIASED = _Family(qkv_bias=True, out_bias=True, mlp_bias=True, gated_mlp=False, norm_bias=True)
"""LayerNorm, two matrices, and biases wherever they can be: GPT-2 and its heirs."""


_FAMILIES = {
    "falcon": replace(
        _BIASED,
        qkv_bias="bias",
        out_bias="bias",
        mlp_bias="bias",
        defaults={"bias": False, "tie_word_embeddings": True},
    ),
    "gemma": _llama(head_dim=256, tie_word_embeddings=True),
    "gemma2": _Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        norms_per_layer=4,
        defaults={
            "attention_bias": False,
            "head_dim": 256,
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
        },
    ),
    "gpt2": replace(_BIASED, learned_positions=True, defaults={"tie_word_embeddings": True}),
    "gpt_bigcode": replace(_BIASED, learned_positions=True, defaults={"tie_word_embeddings": True}),
    "gpt_neox": replace(
        _BIASED,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        defaults={"attention_bias": True},
    ),
    "granite": _llama(),
    "internlm": _Family(qkv_bias="bias", out_bias="bias", defaults={"bias": True}),
    "internlm2": _Family(qkv_bias="bias", out_bias="bias", defaults={"bias": True}),
    "llama": _llama(),
    "mistral": _Family(slides=True, defaults={"num_key_value_heads": 8, "sliding_window": 4096}),
    "mixtral": _Family(
        slides=True,
        defaults={"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "olmo2": _Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        qk_norm="full",
        defaults={"attention_bias": False},
    ),
    "phi3": _Family(slides=True),
    "qwen": _Family(qkv_bias=True),
    "qwen2": _Family(qkv_bias=True),
    "qwen3": _qwen3(),
    "qwen3_moe": _qwen3(
        head_dim=None, num_key_value_heads=4, num_experts=128, num_experts_per_tok=8
    ),
    "smollm3": _llama(num_key_value_heads=4, tie_word_embeddings=True),
    "starcoder2": replace(
        _BIASED,
        qkv_bias="use_bias",
        out_bias="use_bias",
        mlp_bias="use_bias",
        slides=True,
        defaults={"use_bias": True, "num_key_value_heads": 2, "tie_word_embeddings": True},
    ),
}

MODEL_TYPES = frozenset(_FAMILIES)
"""The model types whose layers are known."""


def shape_from_config(config: Mapping[str, Any], name: str | None = None) -> ModelShape:
    """Return the shape that a Hugging Face config describes.

    Args:
        config: The config, as read from config.json or kept in the manifest of a profile.
        name: Name of the model; by default the one in the config.

    Raises:
        ShapeError: If the layers of its model_type are not known here, a size is missing, the
            layout is unusual, or a value has the wrong type.
    """
    inner = config.get("text_config")
    if inner is not None:
        if not isinstance(inner, Mapping):
            raise ShapeError(
                f"{name or 'this config'}: text_config is {inner!r}: "
                "wanted the object of a config.json"
            )
        config = inner
    kind = config.get("model_type")
    label = str(name or config.get("_name_or_path") or (f"{kind} model" if kind else "the model"))
    todo = "describe the model in a TOML file in the form of profiles/catalog/models.toml"
    if kind is None:
        raise ShapeError(
            f"{label}: its config has no model_type, so its layers are unknown: {todo}"
        )
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise ShapeError(
            f"{label}: model_type {kind!r} is none whose layers are known here, "
            f"{nearest(str(kind), _FAMILIES)}: {todo}"
        )
    family = _FAMILIES[kind]
    return _Reader(label, {**family.defaults, **config}, kind, family).shape()


class _Reader:
    """Reads the shape from one config, with the defaults of its family filled in.

    A key set to null stays null: ``"sliding_window": null`` says that there is no window.
    """

    def __init__(self, name: str, config: Mapping[str, Any], kind: str, family: _Family) -> None:
        self.name, self.config, self.kind, self.family = name, config, kind, family

    def shape(self) -> ModelShape:
        """Return the model's shape, read from its configuration."""
        self._refuse_the_unusual()
        hidden_size, n_heads = self._size("hidden_size"), self._size("n_heads")
        head_dim, n_experts, experts_per_token = (
            self._found(what) for what in ("head_dim", "n_experts", "experts_per_token")
        )
        return ModelShape(
            name=self.name,
            n_layers=self._size("n_layers"),
            hidden_size=hidden_size,
            intermediate_size=self._intermediate_size(hidden_size),
            n_heads=n_heads,
            n_kv_heads=self._n_kv_heads(n_heads),
            head_dim=default_head_dim(self.name, hidden_size, n_heads)
            if head_dim is None
            else head_dim,
            vocab_size=self._size("vocab_size"),
            tied_embeddings=self._flag("tie_word_embeddings", default=False),
            n_experts=1 if n_experts is None else n_experts,
            experts_per_token=1 if experts_per_token is None else experts_per_token,
            gated_mlp=self.family.gated_mlp,
            qkv_bias=self._has(bias=self.family.qkv_bias),
            out_bias=self._has(bias=self.family.out_bias),
            mlp_bias=self._has(bias=self.family.mlp_bias),
            norms_per_layer=self._norms_per_layer(),
            norm_bias=self.family.norm_bias,
            qk_norm=self.family.qk_norm,
            learned_positions=self.family.learned_positions,
            sliding_window=self._sliding_window(),
            max_positions=self._found("max_positions"),
            source=f"config of {self.name}",
        )

    def _whole(self, key: str) -> int | None:
        """Return the whole number under this key; None where there is none."""
        value = self.config.get(key)
        return None if value is None else checked_size(self.name, key, value)

    def _flag(self, key: str, *, default: bool) -> bool:
        """Return the boolean under this key; null is no."""
        value = self.config.get(key, default)
        return value is not None and checked_flag(self.name, key, value)

    def _found(self, what: str) -> int | None:
        """Return the size under any of its keys; None where the config has none."""
        return next(
            (size for key in _SPELLINGS[what] if (size := self._whole(key)) is not None), None
        )

    def _size(self, what: str) -> int:
        size = self._found(what)
        if size is None:
            raise ShapeError(
                f"{self.name}: the config has no {' or '.join(_SPELLINGS[what])}: "
                "add it, as no size is guessed"
            )
        return size

    def _has(self, *, bias: bool | str) -> bool:
        return self._flag(bias, default=False) if isinstance(bias, str) else bias

    def _intermediate_size(self, hidden_size: int) -> int:
        if self.kind == "qwen":  # which counts both halves of its gated MLP
            return self._size("intermediate_size") // 2
        if self.kind == "qwen3_moe":
            return self._size("expert_size")
        if self.kind in ("gpt2", "gpt_bigcode", "falcon"):
            # Their MLP is four times as wide unless a key of their own says something else.
            own = self._whole("ffn_hidden_size" if self.kind == "falcon" else "n_inner")
            return 4 * hidden_size if own is None else own
        return self._size("intermediate_size")

    def _n_kv_heads(self, n_heads: int) -> int:
        # The newer layout of falcon, which may share keys in groups.
        grouped = self._flag("new_decoder_architecture", default=False)
        if self.kind in ("falcon", "gpt_bigcode") and not grouped:
            return 1 if self._flag("multi_query", default=True) else n_heads
        if self.kind in ("gpt2", "gpt_neox"):  # which have no such key
            return n_heads
        given = self._found("n_kv_heads")
        return n_heads if given is None else given

    def _norms_per_layer(self) -> int:
        if self.kind != "falcon":
            return self.family.norms_per_layer
        if self._flag("new_decoder_architecture", default=False):
            given = self._whole("num_ln_in_parallel_attn")
            return 2 if given is None else given
        return 1 if self._flag("parallel_attn", default=True) else 2

    def _sliding_window(self) -> int | None:
        """Return the window if it binds every layer."""
        kinds = self.config.get("layer_types")
        if kinds is not None and not (
            isinstance(kinds, (list, tuple)) and all(isinstance(kind, str) for kind in kinds)
        ):
            raise ShapeError(
                f"{self.name}: layer_types is {kinds!r}: wanted a list with a text for every layer"
            )
        everywhere = set(kinds) == {"sliding_attention"} if kinds else self.family.slides
        return self._whole("sliding_window") if everywhere else None

    def _refuse_the_unusual(self) -> None:
        if self._whole("decoder_sparse_step") not in (None, 1) or self.config.get(
            "mlp_only_layers"
        ):
            raise ShapeError(
                f"{self.name}: some layers are a mixture of experts and some are not: "
                "wanted all layers alike"
            )
        if self.kind == "qwen" and not self._flag("no_bias", default=True):
            raise ShapeError(
                f"{self.name}: a qwen with no_bias = false is not known here: wanted no_bias = true"
            )
