"""What of a manifest a shared copy keeps: the keys by name, at every depth, and what each may hold.

A key that is not listed here stays at home, with whatever is below it, until somebody decides that
it tells nothing. So does a value that is not what its key may hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from adadecode.profiles.catalog.layer_shape import LayerShape
from adadecode.profiles.catalog.layered_config import READ
from adadecode.profiles.catalog.model_shape import SIZES
from adadecode.sim.hardware.memory import WEIGHT_BYTES

Fine = Callable[[object], bool]
"""Says whether a value, or each item of a list, may be kept."""


def is_number(value: object) -> bool:
    """Whether a value is a number, a flag or null."""
    return value is None or isinstance(value, int | float)


def matching(pattern: str) -> Fine:
    """Return whether a value is null or a text of this form."""
    form = re.compile(pattern)
    return lambda value: (
        value is None or (isinstance(value, str) and form.fullmatch(value) is not None)
    )


def among(*words: str) -> Fine:
    """Return whether a value is null or one of these words."""
    return lambda value: value is None or (isinstance(value, str) and value in words)


NUMERALS = matching(r"[0-9.,;: eE+-]*")

_DTYPE = matching(r"none|(torch\.)?(b?float|u?int)[0-9]{1,3}(_e[0-9]m[0-9](fn)?)?")

_TIMED = (
    "host clock(, all devices waited for at every layer)?|events between layers|events in graphs"
)

_SAID = {
    "numerics": among("native", "canonical"),
    "attention": matching(r"adadecode over preallocated buffers \([a-z_]{1,40}\)|excluded"),
    "graphs": among("eager", "static", "compile", "cuda", "cuda+compile", "kernels alone", "none"),
    "timing": matching(f"({_TIMED})(, ({_TIMED}))*"),
    "weights": among(*WEIGHT_BYTES),
}
"""What the recorder and the importers say in words of their own."""

_PART = matching(r"[A-Za-z0-9_ ,.:;()@+/-]{1,100}")
"""What a processor or a GPU is called."""

_VERSION = matching(
    r"None|not installed|[0-9]+(\.[0-9]+)*((\.|-)?(a|b|rc|dev|post)[0-9]*)*"
    r"(\+(cpu|cu[0-9]+|rocm[0-9.]+))?"
)

_LABEL = matching(
    r"(vanilla|adadecode|fixed|oracle)( [0-9/]+)?( gamma [0-9./e-]+)?( gate [0-9./e-]+)?"
    r"( cap [0-9]+)?( unverified)?"
)

_HOST = {
    "cpu": _PART,
    "architecture": matching(r"[a-z0-9_]{1,20}"),
    **dict.fromkeys(("cores", "threads", "usable_threads", "memory_bytes"), is_number),
    "caches": {
        "kind": among("data", "instruction", "unified"),
        **dict.fromkeys(("level", "bytes", "count"), is_number),
    },
}

_GPU = {
    "name": _PART,
    **dict.fromkeys(
        (
            *("memory_bytes", "multiprocessors", "l2_bytes", "sm_clock_mhz", "memory_clock_mhz"),
            *("temperature_c", "power_w", "power_limit_w"),
        ),
        is_number,
    ),
}

_MACHINE = {"device": among("cpu", "cuda"), "threads": is_number, "host": _HOST, "gpu": _GPU}

_ROPE = {
    **dict.fromkeys(("rope_type", "type"), matching("[a-z0-9_]{1,20}")),
    **dict.fromkeys(
        (
            *("rope_theta", "factor", "low_freq_factor", "high_freq_factor", "attention_factor"),
            *("original_max_position_embeddings", "beta_fast", "beta_slow", "mscale"),
            *("partial_rotary_factor", "short_factor", "long_factor"),
        ),
        is_number,
    ),
}

_CONFIG: dict[str, Any] = {
    **dict.fromkeys(("dtype", "torch_dtype"), _DTYPE),
    **dict.fromkeys(("hidden_act", "hidden_activation"), matching("[a-z0-9_]{1,30}")),
    **dict.fromkeys(
        ("layer_types", "layers_block_type"),
        matching("[a-z]{1,20}_attention|attention|mamba|conv|hybrid|moe|mlp"),
    ),
    "mlp_layer_types": among("dense", "sparse"),
    "hybrid_override_pattern": matching("[M*E-]{1,1000}"),
    **dict.fromkeys(
        ("attn_type_list", "attn_layer_indices", "full_attn_idxs", "moe_layers"), is_number
    ),
    "linear_attn_config": dict.fromkeys(
        ("full_attn_layers", "kda_layers", "head_dim", "num_heads", "short_conv_kernel_size"),
        is_number,
    ),
    "attn_config": {"kv_n_heads": is_number},
    "ffn_config": dict.fromkeys(("ffn_hidden_size", "moe_num_experts", "moe_top_k"), is_number),
    "rope_parameters": _ROPE,
    "rope_scaling": _ROPE,
    "quantization_config": {
        "quant_method": matching("[a-z0-9_-]{1,20}"),
        **dict.fromkeys(("bits", "group_size", "load_in_8bit", "load_in_4bit"), is_number),
    },
    **dict.fromkeys(
        (
            *READ,
            *("attention_bias", "attention_dropout", "bias", "decoder_sparse_step", "expert_size"),
            *("experts_per_token", "ffn_hidden_size", "head_dim", "hidden_size", "use_bias"),
            *("initializer_range", "intermediate_size", "kv_channels", "max_position_embeddings"),
            *("mlp_bias", "mlp_only_layers", "moe_intermediate_size", "multi_query", "n_embd"),
            *("n_experts", "n_head", "n_inner", "n_layer", "n_positions", "no_bias", "use_cache"),
            *("new_decoder_architecture", "num_attention_heads", "num_experts", "vocab_size"),
            *("num_experts_per_tok", "num_hidden_layers", "num_key_value_heads", "num_kv_heads"),
            *("num_ln_in_parallel_attn", "num_local_experts", "num_query_groups", "rope_theta"),
            *("parallel_attn", "partial_rotary_factor", "rms_norm_eps", "layer_norm_eps"),
            *("sliding_window", "max_window_layers", "use_sliding_window", "tie_word_embeddings"),
            *("attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar"),
            *("pad_token_id", "bos_token_id", "eos_token_id", "pretraining_tp", "alibi"),
            *("use_qk_norm", "qk_layernorm", "norm_topk_prob", "shared_expert_intermediate_size"),
        ),
        is_number,
    ),
}
_CONFIG["text_config"] = dict(_CONFIG)

_FORM = {
    "prompt": is_number,
    "shortlist": is_number,
    "dtype": _DTYPE,
    "product": matching("[a-z0-9_.]{1,30}"),
}

KEPT: dict[str, Any] = {
    "created": matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "dtype": _DTYPE,
    **_SAID,
    **dict.fromkeys(("seed", "graphs_bytes", "max_new_tokens", "latency_samples"), is_number),
    "model": {
        "revision": matching("[0-9a-f]{7,64}"),
        **dict.fromkeys(("n_layers", "hidden_size", "n_parameters"), is_number),
        "config": _CONFIG,
        "origin": {
            "format": among("gguf", "safetensors"),
            "packed_as": matching("[a-z0-9_]{2,12}"),
        },
        "shape": {
            **dict.fromkeys(SIZES, is_number),
            **dict.fromkeys(
                (
                    *("tied_embeddings", "n_experts", "experts_per_token", "gated_mlp", "qkv_bias"),
                    *("out_bias", "mlp_bias", "norms_per_layer", "norm_bias", "learned_positions"),
                    *("sliding_window", "max_positions"),
                ),
                is_number,
            ),
            "qk_norm": among("head", "full", "none"),
        },
        "measured": {
            **dict.fromkeys(
                (*SIZES, "tied_embeddings", "max_positions", "lm_head_width", "n_parameters"),
                is_number,
            ),
            "layers": dict.fromkeys(
                ("layers", *(one.name for one in fields(LayerShape))), is_number
            ),
        },
    },
    "heads": {
        "depths": is_number,
        "gates": is_number,
        "metrics": dict.fromkeys(
            ("depth", "kl_identity", "agreement_identity", "kl", "agreement", "positions"),
            is_number,
        ),
        "form": _FORM,
        "coverage": dict.fromkeys(
            ("outputs", "outside", "depths", "full", "formed", "same"), is_number
        ),
    },
    "hardware": {
        **_MACHINE,
        "before": _MACHINE,
        "after": _MACHINE,
        "placing": {
            "processes": is_number,
            "devices": {re.compile(r"cpu|disk|(cuda:)?[0-9]{1,4}"): is_number},
        },
    },
    "software": {
        **dict.fromkeys(
            (
                *("torch", "cuda", "transformers", "numpy", "adadecode", "accelerate", "torchao"),
                "bitsandbytes",
            ),
            _VERSION,
        ),
        "source": among("adadecode-sim synthesize", "Vidur operator profile"),
    },
    "prompts": dict.fromkeys(("count", "chat"), is_number),
    "settings": {
        **dict.fromkeys(
            (
                *("demo", "limit", "threads", "cap", "fixed_drafts", "max_tokens", "repeats"),
                *("max_new_tokens", "samples", "branch_floor", "seed", "trust_remote_code"),
                *("n_prompts", "chat", "temperature", "top_k", "top_p", "sample_seed", "shortlist"),
                "shortlist_prompt",
                *("layers", "followed"),
            ),
            is_number,
        ),
        **dict.fromkeys(("gammas", "gates", "placements", "contexts", "walks"), NUMERALS),
        **dict.fromkeys(("dtype", "head_dtype"), matching("auto|(b?float|u?int)[0-9]{1,3}")),
        "head_forms": matching("((full|int8|shortlist:[0-9]{1,9}|[ +](prompt|int8)),?)*"),
        "device": matching("auto|cpu|cuda(:[0-9]+)?"),
        **dict.fromkeys(("graphs", "numerics", "interleaving"), matching("[a-z+]{1,20}")),
        "designs": _LABEL,
    },
    "conditions": dict.fromkeys(
        (
            *("session", "seconds", "sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w"),
            *("energy_j", "cpu_mhz", "load", "others"),
        ),
        is_number,
    ),
    "sampling": dict.fromkeys(("temperature", "top_k", "top_p", "seed"), is_number),
    "scripted": {
        **dict.fromkeys(("n_layers", "synthetic"), is_number),
        "map": {re.compile("[0-9]{1,4}"): is_number},
        "form": {"shortlist": is_number, "dtype": _DTYPE, "prompt": is_number},
    },
    "synthetic": is_number,
}
"""What is kept of a manifest. A key that is a pattern stands for all keys of its form."""

BASELINE = dict.fromkeys(
    ("n_parameters", "prompt_lookup_num_tokens", "assistant_early_exit"), is_number
)
"""What is kept of the settings of one baseline."""


def known_part(value: Any, known: Any) -> Any:  # noqa: ANN401 - as JSON
    """Return the part of a value that is known; None where nothing is.

    Args:
        value: A value of a manifest.
        known: What may be kept: a function for a single value, an object for an object. A list is
            kept where all its items may be; of a list of objects the known part of each.
    """
    if isinstance(value, list):
        if isinstance(known, Mapping):
            return [known_part(one, known) for one in value if isinstance(one, Mapping)]
        return value if all(map(known, value)) else None
    if not isinstance(known, Mapping):
        return value if not isinstance(value, Mapping) and known(value) else None
    if not isinstance(value, Mapping):
        return None
    kept = {}
    for key, item in value.items():
        what = _of_key(key, known)
        part = None if what is None else known_part(item, what)
        if what is not None and (part is not None or item is None):
            kept[key] = part
    return kept


def _of_key(key: str, known: Mapping[Any, Any]) -> Any:  # noqa: ANN401 - as the table
    """Return what a key may hold; None where it is not known."""
    if key in known:
        return known[key]
    patterns = (one for one in known if isinstance(one, re.Pattern) and one.fullmatch(key))
    return next((known[one] for one in patterns), None)
