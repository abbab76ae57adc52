"""Read the layers of a model from its config, where they differ or are of parts of their own.

How a family is built is kept here by model_type, as ``transformers`` builds it; what a config
leaves out is what ``transformers`` takes for it (``config_defaults.json``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from adadecode.profiles.catalog.config_values import SPELLINGS, ConfigValues
from adadecode.profiles.catalog.layer_kinds import (
    CHUNKED,
    FULL,
    LINEAR,
    SLIDING,
    attention_kinds,
    listed_layers,
    sparse_layers,
    usual_kind,
)
from adadecode.profiles.catalog.layer_parts import (
    delta_attention,
    delta_net,
    head_attention,
    latent_attention,
    lightning_attention,
    mamba,
    mamba2,
    mixture,
    mlp,
    short_convolution,
    together,
)
from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.catalog.layered_families import FAMILIES
from adadecode.profiles.catalog.model_shape import MOST_LAYERS, ModelShape, default_head_dim
from adadecode.profiles.catalog.unusual_layers import UNUSUAL
from adadecode.profiles.errors import ShapeError

DEFAULTS = Path(__file__).with_name("config_defaults.json")


BASIC = (
    *("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"),
    *("vocab_size", "n_layers", "d_model", "n_heads"),
)
"""Sizes that no config of a model by itself may leave out: nothing is guessed.

A config within that of a model of images and text may, which is written without what is usual.
"""

READ = (
    *BASIC,
    *("altup_num_inputs", "attention_bias", "attention_chunk_size", "attention_out_bias"),
    *("attn_layer_offset", "attn_layer_period", "block_auto_adjust_ff_dim", "block_multiple_of"),
    *(
        "block_ffn_dim_multiplier",
        "conv_L_cache",
        "conv_bias",
        "conv_kernel",
        "decoder_sparse_step",
    ),
    *("expand", "expert_layer_offset", "expert_layer_period", "ffn_hidden_size"),
    *("first_k_dense_replace", "full_attention_interval", "global_attn_every_n_layers", "head_dim"),
    *("hidden_size_per_layer_input", "index_head_dim", "index_n_heads", "intermediate_size_mlp"),
    *("interleave_moe_layer_step", "kv_lora_rank", "laurel_rank", "linear_conv_kernel_dim"),
    *("linear_head_dim", "linear_key_head_dim", "linear_num_heads", "linear_num_key_heads"),
    *("linear_num_value_heads", "linear_value_head_dim", "lm_head_bias", "mamba_conv_bias"),
    *("mamba_d_conv", "mamba_d_head", "mamba_d_ssm", "mamba_d_state", "mamba_dt_rank"),
    *("mamba_expand", "mamba_head_dim", "mamba_n_groups", "mamba_n_heads", "mamba_num_heads"),
    *(
        "mamba_proj_bias",
        "mamba_rms_norm",
        "max_position_embeddings",
        "mlp_bias",
        "model_max_length",
    ),
    *("moe_latent_size", "global_head_dim", "num_global_key_value_heads", "attention_k_eq_v"),
    *("enable_moe_block", "top_k_experts", "use_double_wide_mlp"),
    *("moe_intermediate_size", "moe_k", "moe_layer_end_index", "moe_layer_interval"),
    *("moe_layer_start_index", "moe_num_experts", "moe_num_shared_experts", "moe_topk"),
    *("moe_shared_expert_intermediate_size", "moe_top_k", "n_groups", "n_routed_experts"),
    *("n_shared_experts", "num_dense_layers", "num_experts", "num_experts_per_tok"),
    *("num_experts_per_token", "num_heads", "num_key_value_heads", "num_kv_shared_layers"),
    *("num_local_experts", "num_shared_expert", "num_shared_experts", "projectors_bias"),
    *("q_lora_rank", "qk_layernorm", "qk_nope_head_dim", "qk_rope_head_dim", "qkv_bias"),
    *("shared_expert_intermediate_size", "shared_intermediate_size", "sliding_window"),
    *("sliding_window_pattern", "ssm_state_size", "state_size", "tie_word_embeddings"),
    *("time_step_rank", "use_bias", "use_conv_bias", "use_qk_norm", "use_qkv_bias", "v_head_dim"),
    *("vocab_size_per_layer_input",),
)
"""Keys of numbers and flags that are read; lists and patterns are read by `layer_kinds`."""


@cache
def defaults(kind: str) -> Mapping[str, Any]:
    """Return what ``transformers`` takes for keys that a config of this model_type leaves out."""
    found: dict[str, dict[str, Any]] = json.loads(DEFAULTS.read_text("utf-8"))
    return found.get(kind, {})


def layered_shape(name: str, config: Mapping[str, Any], kind: str, *, within: bool) -> ModelShape:
    """Return the shape of a model of one of `FAMILIES`.

    Args:
        name: Name of the model.
        config: Its config.
        kind: Its model_type.
        within: Whether the config stands within another, and may leave out usual sizes.

    Raises:
        ShapeError: If a size is missing, or a value makes no sense.
    """
    taken = defaults(kind)
    usual = {key: value for key, value in taken.items() if within or key not in BASIC}
    return _Reader(name, {**usual, **_flat(config, kind)}, kind).shape()


def _flat(config: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a config with the names that others use (DBRX has its own, in two parts)."""
    if kind != "dbrx":
        return config
    own = {
        "n_layers": "num_hidden_layers",
        "d_model": "hidden_size",
        "n_heads": "num_attention_heads",
    }
    found = {own.get(key, key): value for key, value in config.items()}
    parts = (found.get("attn_config"), found.get("ffn_config"))
    attention, experts = (part if isinstance(part, Mapping) else {} for part in parts)
    return found | {
        "num_key_value_heads": attention.get("kv_n_heads", 1),
        "intermediate_size": experts.get("ffn_hidden_size", 3584),
        "num_experts": experts.get("moe_num_experts", 4),
        "num_experts_per_tok": experts.get("moe_top_k", 1),
        "max_position_embeddings": found.get("max_seq_len", 2048),
    }


class _Reader(ConfigValues):
    """Reads the layers of one config."""

    def __init__(self, name: str, config: Mapping[str, Any], kind: str) -> None:
        super().__init__(name, config)
        self.kind, self.family = kind, FAMILIES[kind]
        self.n_layers = listed_layers(self) or self.size("n_layers")
        if self.n_layers > MOST_LAYERS:
            raise ShapeError(
                f"{name} has {self.n_layers} layers: wanted at most {MOST_LAYERS}, so check it"
            )
        self.kinds = (
            attention_kinds(self, kind, self.n_layers) or [usual_kind(kind)] * self.n_layers
        )
        self.hidden = self.size("hidden_size")

    def shape(self) -> ModelShape:
        """Return the model's shape."""
        family, heads = self.family, self.found("n_heads") or 1
        sparse = sparse_layers(self, self.kind, len(self.kinds)) if family.moe else []
        layers, apart = self._layers(sparse)
        described = ModelShape(
            name=self.name,
            n_layers=self.n_layers,
            hidden_size=self.hidden,
            intermediate_size=max(1, layers[0].mlp_width),
            n_heads=heads,
            n_kv_heads=self._kv_heads(heads),
            head_dim=self._head_dim(heads),
            vocab_size=self.size("vocab_size"),
            tied_embeddings=self.flag("tie_word_embeddings", default=False),
            gated_mlp=family.gated_mlp,
            norm_bias=family.norm_bias,
            max_positions=self.found("max_positions"),
            source=f"config of {self.name}",
            layers=layers,
        )
        apart += self._apart(described)
        if not apart:
            return described
        return replace(described, n_parameters=described.total_parameters + apart)

    # -- layers --------------------

    def _layers(self, sparse: list[bool]) -> tuple[tuple[LayerShape, ...], int]:
        """Return all layers, and parameters that stand apart from them."""
        if self.kind in UNUSUAL:
            return UNUSUAL[self.kind](self, self.kinds, sparse)
        layers = (
            self._layer(index, kind, sparse=bool(sparse) and sparse[index])
            for index, kind in enumerate(self.kinds)
        )
        return tuple(layers), 0

    def _layer(self, index: int, kind: str, *, sparse: bool) -> LayerShape:
        """Return one layer."""
        own = self.hidden * (2 if self.family.norm_bias else 1)
        extra = LayerShape(shared=self.family.extra + self._residual_parts())
        if self.kind == "nemotron_h":  # each layer is one part
            part = self._mixture() if kind == "moe" else self._mlp(index) if kind == "mlp" else None
            return together(part or self._mixer(index, kind), norms=own)
        parts = [self._mixer(index, kind), extra]
        if kind == "hybrid":
            parts.append(self._heads(index, FULL))
        if self.kind not in ("mamba", "mamba2", "falcon_mamba"):
            parts.append(self._mixture() if sparse else self._mlp(index))
        norms = self.family.norms * own + (2 * self.hidden if self.kind == "gemma3n_text" else 0)
        return together(*parts, norms=norms)

    def _mixer(self, index: int, kind: str) -> LayerShape:
        """Return what mixes positions in a layer."""
        if kind == "conv":
            kernel = self.whole("conv_L_cache") or 3
            return short_convolution(
                self.hidden, kernel, bias=self.flag("conv_bias", default=False)
            )
        if kind in (LINEAR, "hybrid") and self.family.linear:
            return self._recurrent()
        if kind not in (FULL, SLIDING, CHUNKED):
            raise ShapeError(
                f"{self.name}: nobody here knows what a layer of kind {kind!r} costs: describe the "
                "model in a TOML file in the form of profiles/catalog/models.toml, or record it"
            )
        return self._latent() if self.family.latent else self._heads(index, kind)

    def _heads(self, index: int, kind: str) -> LayerShape:
        family, heads = self.family, self.size("n_heads")
        width = self._head_dim(heads)
        asked = not family.qk_norm_flag or self.flag(family.qk_norm_flag, default=False)
        norm = family.qk_norm if asked else "none"
        extra = family.sinks * heads
        if family.gate == "full":
            extra += self.hidden * heads * width
        shared = self.count("num_kv_shared_layers") if self.kind == "gemma3n_text" else 0
        if self.kind == "stablelm" and self.flag("qk_layernorm", default=False):
            extra += (heads + self._kv_heads(heads)) * width
        return head_attention(
            self.hidden,
            heads,
            self._kv_heads(heads),
            width,
            window=self._window(kind),
            qkv_bias=self._has(bias=family.qkv_bias),
            out_bias=self._has(bias=family.out_bias),
            qk_norm=norm,
            extra=extra,
            shares_keys=index >= self.n_layers - shared,
        )

    def _latent(self) -> LayerShape:
        heads, rank = self.size("n_heads"), self._needed("kv_lora_rank")
        query_rank, extra = self.whole("q_lora_rank"), 0
        if self.family.indexer and query_rank is not None:
            indexers, width = self._needed("index_n_heads"), self._needed("index_head_dim")
            extra = indexers * width * query_rank + self.hidden * (width + indexers) + 2 * width
        found = latent_attention(
            self.hidden,
            heads,
            query_rank=query_rank,
            rank=rank,
            plain=self._needed("qk_nope_head_dim"),
            rotary=self.count("qk_rope_head_dim"),
            value=self._needed("v_head_dim"),
            bias=self._has(bias=self.family.qkv_bias),
            extra=extra,
        )
        if self.family.indexer:  # which keeps and reads a key of its own for every position
            width = self._needed("index_head_dim")
            found = replace(found, cache=found.cache + width, reads=found.reads + width)
        return found

    def _recurrent(self) -> LayerShape:
        """Return a mixer with a state."""
        kind, width = self.family.linear, self.hidden
        if kind == "delta":
            return delta_net(
                width,
                self._needed("linear_num_key_heads"),
                self._needed("linear_num_value_heads"),
                self._needed("linear_key_head_dim"),
                self._needed("linear_value_head_dim"),
                self._needed("linear_conv_kernel_dim"),
            )
        if kind == "delta attention":
            about = self.config.get("linear_attn_config")
            own = ConfigValues(self.name, about if isinstance(about, Mapping) else {})
            heads = own.whole("num_heads") or self._needed("linear_num_heads")
            size = own.whole("head_dim") or self._needed("linear_head_dim")
            kernel = own.whole("short_conv_kernel_size") or self._needed("linear_conv_kernel_dim")
            return delta_attention(width, heads, size, kernel)
        if kind == "lightning":
            heads = self.size("n_heads")
            return lightning_attention(width, heads, self._head_dim(heads))
        return self._mamba() if kind == "mamba" else self._mamba2()

    def _mamba(self) -> LayerShape:
        jamba = self.kind == "jamba"
        expand = self.whole("mamba_expand" if jamba else "expand") or 2
        inner = expand * self.hidden
        if not jamba:
            inner = self.whole("intermediate_size") or inner
        rank = self.whole("mamba_dt_rank" if jamba else "time_step_rank")
        return mamba(
            self.hidden,
            inner,
            self._needed("mamba_d_state" if jamba else "state_size"),
            self._needed("mamba_d_conv" if jamba else "conv_kernel"),
            -(-self.hidden // 16) if rank is None else rank,
            bias=self.flag("mamba_conv_bias" if jamba else "use_conv_bias", default=True),
            normed=jamba,
        )

    def _mamba2(self) -> LayerShape:
        kind = self.kind
        keys = {
            "nemotron_h": ("mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size"),
            "mamba2": ("num_heads", "head_dim", "n_groups", "state_size"),
        }.get(kind, ("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state"))
        heads, width, groups, state = map(self._needed, keys)
        kernel = self._needed("conv_kernel" if "conv_kernel" in self.config else "mamba_d_conv")
        of_conv = "use_conv_bias" if kind in ("nemotron_h", "mamba2") else "mamba_conv_bias"
        return mamba2(
            self.hidden,
            heads,
            width,
            groups,
            state,
            kernel,
            conv_bias=self.flag(of_conv, default=True),
            bias=self.flag("mamba_proj_bias", default=False),
            normed=kind != "falcon_h1" or self.flag("mamba_rms_norm", default=False),
        )

    def _mlp(self, index: int) -> LayerShape:
        return mlp(
            self.hidden,
            self._width(index),
            gated=self.family.gated_mlp,
            bias=self._has(bias=self.family.mlp_bias),
        )

    def _width(self, index: int) -> int:
        """Return the width of a layer's MLP without experts."""
        listed = self.config.get("intermediate_size")
        if isinstance(listed, (list, tuple)):  # Gemma 3n has one for each layer
            widths = self.numbers("intermediate_size") or []
            if not 0 <= index < len(widths) or widths[index] < 1:
                raise ShapeError(f"{self.name}: intermediate_size has none for layer {index}")
            return widths[index]
        if self.kind == "llama4_text":
            return self._needed("intermediate_size_mlp")
        if self.kind == "granitemoehybrid":
            return self._needed("shared_intermediate_size")
        width = self.size("intermediate_size")
        if self.kind == "lfm2" and self.flag("block_auto_adjust_ff_dim", default=True):
            width = 2 * width // 3
            factor = self.config.get("block_ffn_dim_multiplier")
            if isinstance(factor, (int, float)) and 0 < factor < 1e6:
                multiple = self.whole("block_multiple_of") or 1
                width = multiple * -(-int(factor * width) // multiple)
        return width

    def _mixture(self) -> LayerShape:
        """Return a mixture of experts; a layer without any where the config has one expert."""
        family = self.family
        experts, per_token = self.found("n_experts"), self.found("experts_per_token")
        if not experts or (experts == 1 and self.kind != "hunyuan_v1_moe"):
            return self._mlp(0)
        width = self.found("expert_size") or self.size("intermediate_size")
        if self.kind in (
            "granitemoehybrid",
            "granitemoeshared",
            "granitemoe",
            "granitemoe_swa",
            "llama4_text",
        ):
            width = self.size("intermediate_size")
        latent = self.whole("moe_latent_size") if self.kind == "nemotron_h" else None
        return mixture(
            self.hidden,
            width,
            experts,
            per_token or experts,
            shared=self._shared_width(width),
            shared_gate=family.shared_gate,
            router_extra=family.router_extra,
            gated=family.gated_mlp,
            bias=family.expert_bias,
            latent=latent,
        )

    def _shared_width(self, width: int) -> int:
        """Return the width of the experts that every token uses, all together."""
        if self.kind == "llama4_text":
            return width
        if self.kind == "hunyuan_v1_moe":
            return width * (self.whole("num_shared_expert") or 1)
        size = self.count(*SPELLINGS["shared_size"])
        if self.kind == "nemotron_h":
            return size * self.count("n_shared_experts")
        if self.kind in ("granitemoe", "lfm2_moe", "minimax_m2"):
            return 0
        if size:
            return size
        return width * self.count(
            "n_shared_experts", "num_shared_experts", "moe_num_shared_experts"
        )

    # -- sizes --------------------

    def _needed(self, key: str) -> int:
        value = self.whole(key)
        if value is None:
            raise ShapeError(f"{self.name}: the config has no {key}: add it, as no size is guessed")
        return value

    def _has(self, *, bias: bool | str) -> bool:
        return self.flag(bias, default=False) if isinstance(bias, str) else bias

    def _kv_heads(self, heads: int) -> int:
        return self.found("n_kv_heads") or heads

    def _head_dim(self, heads: int) -> int:
        if self.family.latent:
            return self._needed("qk_nope_head_dim") + self.count("qk_rope_head_dim")
        given = None if self.kind == "mamba2" else self.found("head_dim")
        if given is None and self.found("n_heads") is None:
            return self.hidden
        return default_head_dim(self.name, self.hidden, heads) if given is None else given

    def _window(self, kind: str) -> int | None:
        if kind == SLIDING or (self.kind == "ministral" and "layer_types" not in self.config):
            return self.whole("sliding_window")
        return self.whole("attention_chunk_size") if kind == CHUNKED else None

    def _residual_parts(self) -> int:
        """Return a layer's parameters around its residual (Gemma 3n: AltUp, LAuReL, inputs)."""
        if self.kind != "gemma3n_text":
            return 0
        ways, width = self._needed("altup_num_inputs"), self.hidden
        altup = 2 * width + ways**2 + ways**3 + ways * width
        return (
            altup
            + 2 * width * self._needed("laurel_rank")
            + 2 * width * self._needed("hidden_size_per_layer_input")
        )

    def _apart(self, shape: ModelShape) -> int:
        """Return parameters outside the layers, embedding, last norm and LM head."""
        if not self.family.final_norm:
            return -self.hidden
        if self.kind == "gemma3n_text":
            inner = self._needed("hidden_size_per_layer_input")
            inputs = inner * self.n_layers
            return (
                self._needed("vocab_size_per_layer_input") * inputs
                + self.hidden * inputs
                + inner
                + 2 * (self._needed("altup_num_inputs") - 1) * self.hidden**2
            )
        return shape.vocab_size * self._has(bias=self.family.head_bias)
