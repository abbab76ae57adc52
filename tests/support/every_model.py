"""Every causal LM of ``transformers`` in small: random models, each from its default config.

They show which architectures are served (``benchmarks/results/architectures.json`` keeps the list)
and are independent of `tests.support.models`, whose models are made for what the engine meets.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.profiles.errors import UnsupportedModel
from tests.support.models import VOCABULARY, WINDOW, greedy_text, random_prompt, roughen

NAMES = list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
"""All of them, by model type."""
LAYERS = 4
MOST_PARAMETERS = 12_000_000
PROMPTS, TOKENS, GAMMAS = (3, WINDOW + 5, 30), 16, (0.0, 0.5, 1.0)

_WINDOWS = ("sliding_window", "sliding_window_size", "attention_chunk_size")
"""An architecture whose default has none is tried without."""
_WIDTHS = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "emb_dim", "embedding_dim"), 64),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim", "lru_width"), 64),
    **dict.fromkeys(("input_embedding_size", "output_embedding_size"), 64),
    **dict.fromkeys(("attention_hidden_size", "projection_dim"), 64),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "dim_ff", "d_inner", "dff"), 96),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size"), 96),
    **dict.fromkeys(("feed_forward_size", "intermediate_size_mlp", "dense_intermediate_size"), 96),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("shared_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("router_hidden_size",), 32),
    **dict.fromkeys(("head_dim", "d_head", "dim_head", "attention_head_size", "kv_channels"), 16),
    **dict.fromkeys(("v_head_dim", "qk_head_dim", "kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "index_head_dim"), 16),
    **dict.fromkeys(("mamba_d_head", "mamba_d_state", "mamba_head_dim", "ssm_state_size"), 16),
    **dict.fromkeys(("state_size", "query_pre_attn_scalar"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim", "laurel_rank"), 8),
    **dict.fromkeys(("hidden_size_per_layer_input",), 8),
}
_COUNTS = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth"), LAYERS),
    **dict.fromkeys(("decoder_layers", "encoder_layers", "num_blocks"), LAYERS),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), LAYERS),
    "num_layers_per_stack": 2,
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("attention_heads", "decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "index_n_heads"), 2),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts",), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "zero_expert_num"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_groups"), 1),
    "first_k_dense_replace": 1,
}
_LENGTHS = {
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), 128),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("pronunciation_vocab_size", "shape_vocab_size"), 20),
    **dict.fromkeys(_WINDOWS, WINDOW),
    **dict.fromkeys(("window_size", "local_attention", "block_size", "index_topk"), WINDOW),
    **dict.fromkeys(("index_block_size", "index_topk_blocks"), 4),
    "image_size": 32,
    "patch_size": 8,
}
_SMALL = _WIDTHS | _COUNTS | _LENGTHS
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LATENT = {"head_dim": 8}
_DECODER = {"is_decoder": True, "is_encoder_decoder": False}
_ESPECIALLY: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa"), _LATENT),
    "youtu": _LATENT,
    "longcat_flash": _LATENT | {"num_layers": 2, "num_hidden_layers": 4},
    **dict.fromkeys(("bert", "bert-generation", "big_bird", "camembert", "ernie"), _DECODER),
    **dict.fromkeys(("data2vec-text", "electra", "megatron-bert", "rembert"), _DECODER),
    **dict.fromkeys(("roberta", "roberta-prelayernorm", "roc_bert", "roformer"), _DECODER),
    **dict.fromkeys(("xlm-roberta", "xlm-roberta-xl", "xmod", "reformer"), _DECODER),
    **dict.fromkeys(("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small"), _DECODER),
    **dict.fromkeys(("marian", "mbart", "mvp", "pegasus", "plbart", "whisper"), _DECODER),
    "prophetnet": _DECODER,
    "falcon_h1": {"mamba_d_ssm": 128},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "gemma3n_text": {"layer_types": ["sliding_attention", "full_attention"] * 2}
    | {"intermediate_size": [96] * LAYERS, "num_kv_shared_layers": 2},
    "minimax_m3_vl_text": {"layer_types": ["full_attention", "minimax_m3_sparse"] * 2},
    "mamba2": {"head_dim": 16, "num_heads": 8},
    "zaya": {"num_experts_per_tok": 1},
}
"""What an architecture needs in addition, or has in its published models beyond its defaults."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an architecture.

    Attributes:
        kind: Whether it is served token for token, refused when it is loaded, or no small model of
            it could be built or decoded by ``generate``.
        why: The reason, where it is not served.
    """

    kind: Literal["served", "refused", "not built"]
    why: str = ""


def small_config(name: str) -> PreTrainedConfig:
    """Return the default config of an architecture, made small, with layers of every kind."""
    return _shrunk(
        CONFIG_MAPPING[name](), {"tie_word_embeddings": False} | _ESPECIALLY.get(name, {})
    )


def _shrunk(default: PreTrainedConfig, more: dict[str, Any]) -> PreTrainedConfig:
    """Return a config like ``default`` in small, those within it too."""
    own = default.to_dict()
    settings = {
        name: value
        for name, value in _SMALL.items()
        if isinstance(own.get(name, ""), (int, float))
        or (name in own and own[name] is None and name not in _WINDOWS)
    }
    if own.get("layer_types"):
        kinds = list(dict.fromkeys(own["layer_types"]))
        settings["layer_types"] = (kinds * LAYERS)[: max(LAYERS, len(kinds))]
    inner = {
        name: _shrunk(part, {})
        for name in default.sub_configs
        if isinstance(part := getattr(default, name, None), PreTrainedConfig)
    }
    made = type(default)(**(settings | inner | _IDS | more))
    made._experts_implementation = "eager"
    return made


def small_model(name: str) -> PreTrainedModel:
    """Return a random model of an architecture in FP32.

    Raises:
        ValueError: It is not small.
    """
    config = small_config(name)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
    if (parameters := sum(weight.numel() for weight in empty.parameters())) > MOST_PARAMETERS:
        raise ValueError(f"the smallest config tried has {parameters:,} parameters")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return roughen(model.eval(), seed=0)


def outcome_of(name: str) -> Outcome:
    """Decode with a small model of an architecture as `AdaDecoder` and as ``generate`` do.

    Raises:
        AssertionError: The texts differ.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what small models make ``transformers`` say
        return _outcome_of(name)


def _outcome_of(name: str) -> Outcome:
    """Return what `outcome_of` does, and warn as it comes."""
    try:
        model = small_model(name)
    except Exception as error:  # noqa: BLE001 -- whatever it is, there is no such model to try
        return Outcome(kind="not built", why=_said(error))
    try:
        texts = {length: greedy_text(model, random_prompt(length), TOKENS) for length in PROMPTS}
        broken = None
    except Exception as error:  # noqa: BLE001 -- as above
        texts, broken = {}, error
    try:
        layers = model.config.get_text_config().num_hidden_layers
        decoder = AdaDecoder(model, ExitHeads.identity(model, range(1, layers)))
    except UnsupportedModel as error:
        return Outcome(kind="refused", why=_reason(error))
    if broken is not None:
        return Outcome(kind="not built", why=f"`generate` fails: {_said(broken)}")
    for length, text in texts.items():
        for gamma in GAMMAS:
            got = decoder.generate(random_prompt(length), TOKENS, gamma=gamma, eos_token_id=())
            assert got.tokens == text, f"{name}, prompt of {length}, gamma {gamma}"
    return Outcome(kind="served")


def _said(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]


def _reason(error: UnsupportedModel) -> str:
    """Return why a model is refused, without its name and what was wanted."""
    return str(error).split(" cannot be served: ")[-1].split("; wanted ")[0]
