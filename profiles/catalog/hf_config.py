"""Read the shape of a model from its Hugging Face config.

What transformers assumes for a key that a config leaves out is kept here for each model_type. Sizes
are never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adadecode.profiles.catalog.config_values import ConfigValues
from adadecode.profiles.catalog.layer_kinds import SLIDING, attention_kinds
from adadecode.profiles.catalog.layered_config import layered_shape
from adadecode.profiles.catalog.layered_families import (
    FAMILIES,
    SAME_LAYERS,
    UNCOUNTED,
    WITHOUT_SHAPE,
)
from adadecode.profiles.catalog.model_shape import ModelShape, default_head_dim
from adadecode.profiles.catalog.packing import packing_of
from adadecode.profiles.errors import ShapeError, nearest


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

MODEL_TYPES = frozenset((*_FAMILIES, *FAMILIES, *SAME_LAYERS))
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
    outer, inner = config, config.get("text_config")
    if inner is not None:
        if not isinstance(inner, Mapping):
            raise ShapeError(
                f"{name or 'this config'}: text_config is {inner!r}: "
                "wanted the object of a config.json"
            )
        apart = ("tie_word_embeddings", "quantization_config")
        config = {key: outer[key] for key in apart if key in outer} | dict(inner)
    kind = config.get("model_type", outer.get("model_type"))
    label = str(name or config.get("_name_or_path") or (f"{kind} model" if kind else "the model"))
    todo = "describe the model in a TOML file in the form of profiles/catalog/models.toml"
    _check_known(label, kind, config, todo)
    kind = SAME_LAYERS.get(kind, kind)
    mixed = kind not in _FAMILIES or (kind == "qwen3_moe" and _has_dense_layers(config))
    if mixed:
        shape = layered_shape(label, config, kind, within=inner is not None)
    else:
        family = _FAMILIES[kind]
        shape = _Reader(label, {**family.defaults, **config}, kind, family).shape()
    packed = packing_of(label, config, shape.each_layer)
    return replace(shape, packed=packed.format, packed_experts=packed.experts_alone)


def _check_known(label: str, kind: object, config: Mapping[str, Any], todo: str) -> None:
    """Raise ShapeError for layers that are not known here.

    Args:
        label: What the model is called.
        kind: Its model_type.
        config: Its config.
        todo: What to do about it.
    """
    if kind is None:
        raise ShapeError(
            f"{label}: its config has no model_type, so its layers are unknown: {todo}"
        )
    if isinstance(kind, str) and kind in WITHOUT_SHAPE:
        raise ShapeError(f"{label}: a {kind} has no shape here, as {WITHOUT_SHAPE[kind]}: {todo}")
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        raise ShapeError(
            f"{label}: model_type {kind!r} is none whose layers are known here, "
            f"{nearest(str(kind), MODEL_TYPES)}: {todo}"
        )
    if uncounted := [key for key in UNCOUNTED if config.get(key)]:
        parts = ", ".join(uncounted)
        raise ShapeError(f"{label}: its config has {parts}, which is not counted here: {todo}")


def _has_dense_layers(config: Mapping[str, Any]) -> bool:
    """Return whether some layers of a mixture have no experts."""
    return config.get("mlp_only_layers") not in (None, []) or config.get(
        "decoder_sparse_step"
    ) not in (None, 1)


class _Reader(ConfigValues):
    """Reads the shape from one config, with the defaults of its family filled in."""

    def __init__(self, name: str, config: Mapping[str, Any], kind: str, family: _Family) -> None:
        super().__init__(name, config)
        self.kind, self.family = kind, family

    def shape(self) -> ModelShape:
        """Return the model's shape, read from its configuration."""
        self._refuse_the_unusual()
        shape = self._alike()
        kinds = attention_kinds(self, self.kind, shape.n_layers)
        if kinds is None or len(set(kinds)) < 2 or shape.sliding_window is not None:
            return shape
        window = self.whole("sliding_window")
        each = (window if kind == SLIDING else None for kind in kinds)
        return replace(shape, layers=tuple(replace(shape.alike, window=one) for one in each))

    def _alike(self) -> ModelShape:
        """Return the shape of a model whose layers are alike, windows aside."""
        hidden_size, n_heads = self.size("hidden_size"), self.size("n_heads")
        head_dim, n_experts, experts_per_token = (
            self.found(what) for what in ("head_dim", "n_experts", "experts_per_token")
        )
        return ModelShape(
            name=self.name,
            n_layers=self.size("n_layers"),
            hidden_size=hidden_size,
            intermediate_size=self._intermediate_size(hidden_size),
            n_heads=n_heads,
            n_kv_heads=self._n_kv_heads(n_heads),
            head_dim=default_head_dim(self.name, hidden_size, n_heads)
            if head_dim is None
            else head_dim,
            vocab_size=self.size("vocab_size"),
            tied_embeddings=self.flag("tie_word_embeddings", default=False),
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
            max_positions=self.found("max_positions"),
            source=f"config of {self.name}",
        )

    def _has(self, *, bias: bool | str) -> bool:
        return self.flag(bias, default=False) if isinstance(bias, str) else bias

    def _intermediate_size(self, hidden_size: int) -> int:
        if self.kind == "qwen":  # which counts both halves of its gated MLP
            return self.size("intermediate_size") // 2
        if self.kind == "qwen3_moe":
            return self.size("expert_size")
        if self.kind in ("gpt2", "gpt_bigcode", "falcon"):
            # Their MLP is four times as wide unless a key of their own says something else.
            own = self.whole("ffn_hidden_size" if self.kind == "falcon" else "n_inner")
            return 4 * hidden_size if own is None else own
        return self.size("intermediate_size")

    def _n_kv_heads(self, n_heads: int) -> int:
        # The newer layout of falcon, which may share keys in groups.
        grouped = self.flag("new_decoder_architecture", default=False)
        if self.kind in ("falcon", "gpt_bigcode") and not grouped:
            return 1 if self.flag("multi_query", default=True) else n_heads
        if self.kind in ("gpt2", "gpt_neox"):  # which have no such key
            return n_heads
        given = self.found("n_kv_heads")
        return n_heads if given is None else given

    def _norms_per_layer(self) -> int:
        if self.kind != "falcon":
            return self.family.norms_per_layer
        if self.flag("new_decoder_architecture", default=False):
            given = self.whole("num_ln_in_parallel_attn")
            return 2 if given is None else given
        return 1 if self.flag("parallel_attn", default=True) else 2

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
        return self.whole("sliding_window") if everywhere else None

    def _refuse_the_unusual(self) -> None:
        if self.whole("decoder_sparse_step") not in (None, 1) or self.config.get("mlp_only_layers"):
            raise ShapeError(
                f"{self.name}: some layers are a mixture of experts and some are not: "
                "wanted all layers alike"
            )
        if self.kind == "qwen" and not self.flag("no_bias", default=True):
            raise ShapeError(
                f"{self.name}: a qwen with no_bias = false is not known here: wanted no_bias = true"
            )
