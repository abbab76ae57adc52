"""Layers of families whose configs say something of single layers that no other's does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from adadecode.profiles.catalog.config_values import ConfigValues
from adadecode.profiles.catalog.layer_kinds import FULL, SLIDING
from adadecode.profiles.catalog.layer_parts import head_attention, mixture, mlp, together
from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.errors import ShapeError

Layers = tuple[tuple[LayerShape, ...], int]
"""All layers, and parameters outside them, the embedding, the last norm and the LM head."""


def gemma4(values: ConfigValues, kinds: Sequence[str], sparse: Sequence[bool]) -> Layers:  # noqa: ARG001 - as the others
    """Return the layers of Gemma 4.

    Those that see all positions have wider heads, which may be keys and values at once. Experts,
    where there are any, stand beside an MLP. The last layers may use earlier ones' keys and values.
    """
    hidden, heads = values.size("hidden_size"), values.size("n_heads")
    inputs, shared = values.count("hidden_size_per_layer_input"), values.count(_SHARING)
    alone = len(kinds) - shared
    layers = []
    for index, kind in enumerate(kinds):
        full = kind == FULL
        width, keys = _gemma4_heads(values, index, full=full)
        one = full and values.flag("attention_k_eq_v", default=False)
        attention = head_attention(
            hidden,
            heads,
            keys,
            width,
            window=values.whole("sliding_window") if kind == SLIDING else None,
            qk_norm="head",
            extra=-hidden * keys * width if one and index < alone else 0,
            shares_keys=index >= alone,
        )
        double = 2 if index >= alone and values.flag("use_double_wide_mlp", default=False) else 1
        parts = [attention, mlp(hidden, double * values.size("intermediate_size"))]
        norms = 4 + bool(inputs)
        if values.flag("enable_moe_block", default=False):
            experts = values.size("n_experts")
            per_token = values.whole("top_k_experts") or experts
            width = values.size("expert_size")
            parts.append(mixture(hidden, width, experts, per_token, router_extra=1))
            parts.append(LayerShape(shared=hidden))
            norms += 3
        layers.append(
            together(*parts, LayerShape(shared=2 * hidden * inputs), norms=norms * hidden)
        )
    every = len(kinds) * inputs
    rows = values.count("vocab_size_per_layer_input") if inputs else 0
    return tuple(layers), rows * every + hidden * every + inputs


_SHARING = "num_kv_shared_layers"


def _gemma4_heads(values: ConfigValues, index: int, *, full: bool) -> tuple[int, int]:
    """Return the width of a head, and the heads of keys, of one layer."""
    width, keys = values.size("head_dim"), values.size("n_kv_heads")
    apart = values.config.get("per_layer_config")
    if isinstance(apart, Mapping):
        about = apart.get(str(index), apart.get(f"{index:02d}"))
        own = ConfigValues(values.name, about if isinstance(about, Mapping) else {})
        return own.found("head_dim") or width, own.found("n_kv_heads") or keys
    if not full:
        return width, keys
    if values.flag("attention_k_eq_v", default=False):
        keys = values.whole("num_global_key_value_heads") or keys
    return values.whole("global_head_dim") or 512, keys


def mimo_v2_flash(values: ConfigValues, kinds: Sequence[str], sparse: Sequence[bool]) -> Layers:
    """Return the layers of MiMo-V2-Flash: windows with sinks, and twice as many heads of keys."""
    hidden, heads = values.size("hidden_size"), values.size("n_heads")
    width, keys = values.size("head_dim"), values.size("n_kv_heads")
    value = values.whole("v_head_dim") or width
    layers = []
    for kind, mixed in zip(kinds, sparse, strict=True):
        slides = kind == SLIDING
        own = keys * (2 if slides else 1)
        attention = LayerShape(
            shared=hidden * (heads + own) * (width + value) + slides * heads,
            cache=own * (width + value),
            reads=own * (width + value),
            products=heads * (width + value),
            window=values.whole("sliding_window") if slides else None,
            attention_width=(heads + own) * width,
        )
        size = values.size("expert_size" if mixed else "intermediate_size")
        inner = (
            mixture(hidden, size, values.size("n_experts"), values.size("experts_per_token"))
            if mixed
            else mlp(hidden, size)
        )
        layers.append(together(attention, inner, norms=2 * hidden))
    return tuple(layers), 0


def nemotron_nas(values: ConfigValues, kinds: Sequence[str], sparse: Sequence[bool]) -> Layers:  # noqa: ARG001 - as the others
    """Return the layers of a Llama that was pruned layer by layer (Puzzle, Nemotron-NAS)."""
    blocks = values.config.get("block_configs")
    if not isinstance(blocks, list) or len(blocks) != len(kinds):
        raise ShapeError(
            f"{values.name}: block_configs is no list of {len(kinds)} objects: wanted one for each "
            "layer"
        )
    return tuple(_pruned(values, block) for block in blocks), 0


def _pruned(values: ConfigValues, block: object) -> LayerShape:
    hidden, heads = values.size("hidden_size"), values.size("n_heads")
    parts = [block.get(key) if isinstance(block, Mapping) else None for key in ("attention", "ffn")]
    attention, inner = (
        ConfigValues(values.name, part if isinstance(part, Mapping) else {}) for part in parts
    )
    linear = "replace_with_linear"
    found = [
        LayerShape(shared=hidden * hidden)
        for part in (attention, inner)
        if part.flag(linear, default=False)
    ]
    keeps = [
        not part.flag("no_op", default=False) and not part.flag(linear, default=False)
        for part in (attention, inner)
    ]
    if keeps[0]:
        group = attention.whole("n_heads_in_group") or 1
        found.append(head_attention(hidden, heads, max(1, heads // group), hidden // heads))
    if keeps[1]:
        factor = inner.config.get("ffn_mult")
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < 1e3:
            raise ShapeError(f"{values.name}: ffn_mult is {factor!r:.99}: wanted a number above 0")
        found.append(mlp(hidden, 256 * -(-int(2 * factor * hidden / 3) // 256)))
    norms = sum(not part.flag("no_op", default=False) for part in (attention, inner))
    return together(LayerShape(shared=0), *found, norms=norms * hidden)


UNUSUAL: dict[str, Callable[[ConfigValues, Sequence[str], Sequence[bool]], Layers]] = {
    "gemma4_text": gemma4,
    "gemma4_unified_text": gemma4,
    "mimo_v2_flash": mimo_v2_flash,
    "nemotron-nas": nemotron_nas,
}
