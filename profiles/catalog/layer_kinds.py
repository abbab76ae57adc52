"""Which layers of a config attend, how far, and which of them hold experts.

Configs list the kinds of their layers, or give them by a rule of their family. Kinds have the names
of ``transformers``: ``full_attention``, ``sliding_attention``, ``chunked_attention``,
``linear_attention`` (any mixer with a state), ``conv``, ``hybrid``, ``moe`` and ``mlp``.
"""

from __future__ import annotations

from collections.abc import Sequence

from adadecode.profiles.catalog.config_values import ConfigValues
from adadecode.profiles.errors import ShapeError

FULL, SLIDING, CHUNKED, LINEAR = (
    *("full_attention", "sliding_attention", "chunked_attention"),
    "linear_attention",
)

_SAME = {
    **dict.fromkeys(("attention", "deepseek_sparse_attention"), FULL),
    "mamba": LINEAR,
    "kda": LINEAR,
    "hybrid_sliding": "hybrid",
}
"""Other names for kinds."""

_PATTERNS = {"M": LINEAR, "*": FULL, "-": "mlp", "E": "moe"}
"""Letters of ``hybrid_override_pattern`` (Nemotron-H)."""

_FLAGS = {"attn_type_list": (FULL, LINEAR), "hybrid_layer_pattern": (SLIDING, FULL)}
"""Lists of ones and zeros, and what they stand for (MiniMax-01, MiMo-V2-Flash)."""

_EVERY = {
    "gemma3_text": (("sliding_window_pattern", "_sliding_window_pattern"), 6),
    "gemma3n_text": ((), 5),
    "gemma4_text": ((), 6),
    "gemma4_unified_text": ((), 6),
    "gemma2": ((), 2),
    "cohere2": (("sliding_window_pattern",), 4),
    "olmo3": ((), 4),
    "exaone4": (("sliding_window_pattern",), 4),
    "exaone_moe": (("sliding_window_pattern",), 4),
    "gpt_oss": ((), 2),
    "vaultgemma": ((), 2),
    "afmoe": (("global_attn_every_n_layers",), 4),
}
"""Families in which every n-th layer sees all positions, the others a window; n and its keys."""

_LINEAR_EVERY = {
    "qwen3_next": (("full_attention_interval",), 4),
    "qwen3_5_text": (("full_attention_interval",), 4),
    "qwen3_5_moe_text": (("full_attention_interval",), 4),
}
"""The same where the others have a state."""


def attention_kinds(values: ConfigValues, kind: str, n_layers: int) -> list[str] | None:
    """Return the kind of every layer; None where the config says nothing of any.

    Args:
        values: The config.
        kind: Its model_type.
        n_layers: How many layers there are.

    Raises:
        ShapeError: If it lists kinds for another number of layers.
    """
    listed = _listed(values, n_layers)
    if listed is not None:
        if len(listed) < n_layers:
            raise ShapeError(
                f"{values.name} has {n_layers} layers, its config lists {len(listed)} kinds of "
                "layers: wanted one for each"
            )
        return [_SAME.get(one, one) for one in listed[:n_layers]]
    if kind in _EVERY:
        keys, usual = _EVERY[kind]
        return _every(values, keys, usual, SLIDING, n_layers)
    if kind in _LINEAR_EVERY:
        keys, usual = _LINEAR_EVERY[kind]
        return _every(values, keys, usual, LINEAR, n_layers)
    return _by_rule(values, kind, n_layers)


def _by_rule(values: ConfigValues, kind: str, n_layers: int) -> list[str] | None:
    """Return the kinds of a family that has a rule of its own."""
    if kind == "llama4_text":
        return [FULL if (i + 1) % 4 == 0 else CHUNKED for i in range(n_layers)]
    if kind == "jamba":
        period, offset = (
            values.count("attn_layer_period") or 1,
            values.count("attn_layer_offset"),
        )
        return [FULL if i % period == offset else LINEAR for i in range(n_layers)]
    if kind == "minimax":
        return [LINEAR if i % 2 else FULL for i in range(n_layers)]
    if kind in ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe") and values.flag(
        "use_sliding_window", default=False
    ):
        first = values.count("max_window_layers")
        return [SLIDING if i >= first else FULL for i in range(n_layers)]
    return None


def usual_kind(kind: str) -> str:
    """Return the kind of all layers of a family whose configs do not tell them apart."""
    if kind in ("mamba", "mamba2", "falcon_mamba", "bamba"):
        return LINEAR
    return "hybrid" if kind == "falcon_h1" else FULL


def listed_layers(values: ConfigValues) -> int | None:
    """Return how many layers a config lists that gives no number of them (Nemotron-H)."""
    if values.found("n_layers") is not None:
        return None
    pattern = values.config.get("hybrid_override_pattern")
    listed = values.texts("layer_types") or values.texts("layers_block_type") or pattern
    return len(listed) if isinstance(listed, (list, str)) and listed else None


def _listed(values: ConfigValues, n_layers: int) -> list[str] | None:
    """Return the kinds that a config lists, in whichever form."""
    for key in ("layer_types", "layers_block_type"):
        if (found := values.texts(key)) is not None:
            return found
    pattern = values.config.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        return [_PATTERNS.get(letter, "?") for letter in pattern]
    for key, (one, zero) in _FLAGS.items():
        if (flags := values.numbers(key)) is not None:
            return [one if flag else zero for flag in flags]
    for key, other in (("attn_layer_indices", LINEAR), ("full_attn_idxs", "conv")):
        if (places := values.numbers(key)) is not None:
            return [FULL if i in places else other for i in range(n_layers)]
    linear = values.config.get("linear_attn_config")  # Kimi Linear counts layers from 1
    if isinstance(linear, dict):
        places = ConfigValues(values.name, linear).numbers("full_attn_layers")
        return (
            None
            if places is None
            else [FULL if i + 1 in places else LINEAR for i in range(n_layers)]
        )
    return None


def _every(
    values: ConfigValues, keys: Sequence[str], usual: int, other: str, n_layers: int
) -> list[str]:
    """Return kinds of which every n-th is full attention."""
    for key in keys:
        pattern = values.config.get(key)
        if isinstance(pattern, str):  # EXAONE writes LLLG
            letters = {"G": FULL, "L": SLIDING}
            if not pattern or set(pattern) - set(letters):
                raise ShapeError(f"{values.name}: {key} is {pattern!r:.99}: wanted letters L and G")
            return [letters[pattern[i % len(pattern)]] for i in range(n_layers)]
    period = next((n for key in keys if (n := values.whole(key)) is not None), usual)
    return [FULL if (i + 1) % period == 0 else other for i in range(n_layers)]


def sparse_layers(values: ConfigValues, kind: str, n_layers: int) -> list[bool]:
    """Return for each layer of a family with experts whether it has any.

    Args:
        values: The config.
        kind: Its model_type.
        n_layers: How many layers there are.
    """
    listed = values.texts("mlp_layer_types")
    if listed is not None and len(listed) >= n_layers:
        return [one != "dense" for one in listed[:n_layers]]
    if isinstance(flags := values.config.get("moe_layer_freq"), list) and len(flags) >= n_layers:
        return [bool(flag) for flag in flags[:n_layers]]
    if kind == "jamba":
        period = max(1, values.count("expert_layer_period"))
        offset = values.count("expert_layer_offset")
        mixed = (values.found("n_experts") or 1) > 1
        return [mixed and i % period == offset for i in range(n_layers)]
    if kind == "llama4_text":
        places = values.numbers("moe_layers")
        step = max(1, values.count("interleave_moe_layer_step"))
        return [(i + 1) % step == 0 if places is None else i in places for i in range(n_layers)]
    if kind == "ernie4_5_moe":
        start, step = values.count("moe_layer_start_index"), values.whole("moe_layer_interval") or 1
        end = values.config.get("moe_layer_end_index", -1)
        last = n_layers - 1 if not isinstance(end, int) or end < 0 else end
        return [(i + 1) % step == 0 and start <= i <= last for i in range(n_layers)]
    dense, step = values.count(*_FIRST), values.whole("decoder_sparse_step") or 1
    alone = values.numbers("mlp_only_layers") or []
    every = values.whole("moe_layer_freq") or 1
    return [
        i >= dense and i not in alone and (i + 1) % step == 0 and i % every == 0
        for i in range(n_layers)
    ]


_FIRST = ("first_k_dense_replace", "num_dense_layers")
"""Keys under which configs say how many of the first layers have no experts."""
