"""Families whose layers differ or are of parts of their own, as ``transformers`` builds them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class LayeredFamily:
    """How the layers of one model_type are built.

    Attributes:
        latent: Whether attention is latent (DeepSeek).
        qkv_bias: Whether queries, keys and values have a bias, or the key of the config that says.
        out_bias: The same for the output of attention.
        qk_norm: Norms of queries and keys, as in `head_attention`.
        qk_norm_flag: The key that says whether they are there; empty where they always are.
        gate: Gate of attention's output: ``full`` as wide as the queries, or ``none``.
        sinks: Whether heads have a logit of their own, which takes some attention.
        indexer: Whether an indexer chooses what is seen (DeepSeek Sparse Attention).
        linear: What a layer with a state is made of: ``mamba``, ``mamba2``, ``delta``,
            ``delta attention`` or ``lightning``; empty where there is none.
        gated_mlp: Whether an MLP has three matrices instead of two.
        mlp_bias: Whether it has a bias, or the key that says.
        moe: Whether there are mixtures of experts.
        shared_gate: Whether shared experts have a gate.
        router_extra: Parameters of the router for each expert, besides its row.
        expert_bias: Whether experts have a bias.
        norms: Norms over the hidden state in a layer.
        norm_bias: Whether norms have a bias.
        final_norm: Whether the model ends with a norm that has parameters.
        extra: Other parameters of each layer.
        head_bias: Whether the LM head has a bias, or the key that says.
    """

    latent: bool = False
    qkv_bias: bool | str = "attention_bias"
    out_bias: bool | str = "attention_bias"
    qk_norm: str = "none"
    qk_norm_flag: str = ""
    gate: str = "none"
    sinks: bool = False
    indexer: bool = False
    linear: str = ""
    gated_mlp: bool = True
    mlp_bias: bool | str = False
    moe: bool = False
    shared_gate: bool = False
    router_extra: int = 0
    expert_bias: bool = False
    norms: int = 2
    norm_bias: bool = False
    final_norm: bool = True
    extra: int = 0
    head_bias: bool | str = False


_PLAIN = LayeredFamily()
_DEEPSEEK = LayeredFamily(latent=True, qkv_bias="attention_bias", moe=True)
_QWEN_NEXT = LayeredFamily(qk_norm="head", gate="full", linear="delta")
_NO_BIAS = LayeredFamily(qkv_bias=False, out_bias=False)

FAMILIES: dict[str, LayeredFamily] = {
    "afmoe": LayeredFamily(qk_norm="head", gate="full", moe=True, router_extra=1, norms=4),
    "apertus": LayeredFamily(qk_norm="head", gated_mlp=False, mlp_bias="mlp_bias", extra=2),
    "arcee": LayeredFamily(gated_mlp=False, mlp_bias="mlp_bias"),
    "bamba": LayeredFamily(linear="mamba2", mlp_bias="mlp_bias"),
    "cohere": LayeredFamily(qk_norm="full", qk_norm_flag="use_qk_norm", norms=1),
    "cohere2": replace(_PLAIN, norms=1),
    "cwm": _NO_BIAS,
    "dbrx": replace(_NO_BIAS, moe=True),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v32": replace(_DEEPSEEK, indexer=True),
    "dots1": LayeredFamily(qk_norm="head", moe=True),
    "ernie4_5": LayeredFamily(qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias"),
    "ernie4_5_moe": LayeredFamily(
        qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias", moe=True, router_extra=1
    ),
    "exaone4": replace(_NO_BIAS, qk_norm="head"),
    "exaone_moe": replace(_NO_BIAS, qk_norm="head", moe=True),
    "falcon_h1": LayeredFamily(linear="mamba2", mlp_bias="mlp_bias"),
    "falcon_mamba": LayeredFamily(linear="mamba", norms=1),
    "flex_olmo": LayeredFamily(qk_norm="full", moe=True),
    "gemma3_text": LayeredFamily(qk_norm="head", norms=4),
    "gemma3n_text": LayeredFamily(qk_norm="head", norms=4),
    "glm": replace(_PLAIN, out_bias=False),
    "glm4": replace(_PLAIN, out_bias=False, norms=4),
    "glm4_moe": LayeredFamily(out_bias=False, qk_norm="head", qk_norm_flag="use_qk_norm", moe=True),
    "glm4_moe_lite": _DEEPSEEK,
    "glm_moe_dsa": replace(_DEEPSEEK, indexer=True),
    "gpt_oss": LayeredFamily(sinks=True, moe=True, router_extra=1, expert_bias=True),
    "granitemoe": replace(_PLAIN, moe=True),
    "granitemoehybrid": LayeredFamily(linear="mamba2", moe=True),
    "granitemoeshared": replace(_PLAIN, moe=True),
    "helium": _NO_BIAS,
    "hunyuan_v1_dense": LayeredFamily(qk_norm="head"),
    "hunyuan_v1_moe": LayeredFamily(qk_norm="head", moe=True),
    "hy_v3": LayeredFamily(qk_norm="head", moe=True),
    "jamba": replace(_NO_BIAS, linear="mamba", moe=True),
    "kimi_k2": _DEEPSEEK,
    "kimi_linear": replace(_DEEPSEEK, linear="delta attention"),
    "lfm2": replace(_NO_BIAS, qk_norm="head"),
    "lfm2_moe": replace(_NO_BIAS, qk_norm="head", moe=True),
    "llama4_text": replace(_PLAIN, moe=True),
    "mamba": LayeredFamily(linear="mamba", norms=1),
    "mamba2": LayeredFamily(linear="mamba2", norms=1),
    "minicpm3": replace(_DEEPSEEK, moe=False),
    "minimax": replace(_NO_BIAS, linear="lightning", moe=True),
    "minimax_m2": replace(_NO_BIAS, qk_norm="full", moe=True),
    "ministral": _NO_BIAS,
    "ministral3": _NO_BIAS,
    "nemotron": LayeredFamily(gated_mlp=False, mlp_bias="mlp_bias", norm_bias=True),
    "nemotron_h": LayeredFamily(
        linear="mamba2", gated_mlp=False, mlp_bias="mlp_bias", moe=True, norms=1
    ),
    "olmo": replace(_PLAIN, norms=0, final_norm=False),
    "olmo3": LayeredFamily(qk_norm="full"),
    "olmoe": LayeredFamily(qk_norm="full", moe=True),
    "phi": LayeredFamily(
        qkv_bias=True,
        out_bias=True,
        qk_norm="biased",
        qk_norm_flag="qk_layernorm",
        gated_mlp=False,
        mlp_bias=True,
        norms=1,
        norm_bias=True,
        head_bias=True,
    ),
    "phimoe": LayeredFamily(moe=True, norm_bias=True, head_bias="lm_head_bias"),
    "qwen2_moe": LayeredFamily(qkv_bias="qkv_bias", out_bias=False, moe=True, shared_gate=True),
    "qwen3_5_moe_text": replace(_QWEN_NEXT, moe=True, shared_gate=True),
    "qwen3_5_text": _QWEN_NEXT,
    "qwen3_moe": LayeredFamily(qk_norm="head", moe=True),
    "qwen3_next": replace(_QWEN_NEXT, moe=True, shared_gate=True),
    "seed_oss": LayeredFamily(out_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "solar_open": LayeredFamily(qk_norm="head", qk_norm_flag="use_qk_norm", moe=True),
    "stablelm": LayeredFamily(qkv_bias="use_qkv_bias", out_bias=False, norm_bias=True),
    "granite_swa": LayeredFamily(sinks=True, mlp_bias="mlp_bias"),
    "granitemoe_swa": LayeredFamily(sinks=True, moe=True),
    "gemma4_text": LayeredFamily(),
    "gemma4_unified_text": LayeredFamily(),
    "mimo_v2_flash": LayeredFamily(moe=True),
    "nemotron-nas": LayeredFamily(),
    "vaultgemma": replace(_PLAIN, norms=2),
    "youtu": replace(_DEEPSEEK, moe=False),
}
"""By model_type. What a family has by a key of the config, or not at all, is told by the reader."""

WITHOUT_SHAPE = {
    **dict.fromkeys(("zamba", "zamba2"), "its attention layers share weights at several depths"),
    "recurrent_gemma": "its recurrence is of no kind that is counted here",
    "longcat_flash": "a layer of it is two, with experts that compute nothing",
    **dict.fromkeys(
        ("rwkv", "xlstm", "reformer", "xlnet", "cpmant", "blt", "hrm_text"),
        "its layers are no attention with keys and values, nor a mixer that is counted here",
    ),
    **dict.fromkeys(
        ("t5", "bart", "mbart", "pegasus", "marian", "whisper", "prophetnet", "m2m_100"),
        "it is an encoder with a decoder, or a part of one",
    ),
    **dict.fromkeys(
        (
            *("deepseek_v4", "deepseek_ref", "minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"),
            *("olmo_hybrid", "doge", "diffllama", "step3p5", "step3p7"),
        ),
        "its layers are of a kind that is not counted here",
    ),
}
"""Families without a shape, and why."""

SAME_LAYERS = {
    "glm4v_moe_text": "glm4_moe",
    "glm4v_text": "glm4",
    "kimi_k2": "deepseek_v3",
    "mimo": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_vl": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_vl_text": "qwen3",
}
"""Families whose layers are those of another one."""

UNCOUNTED = (
    *(
        "attn_res_block_size",
        "latent_moe_use_norm",
        "mla_use_output_gate",
        "routed_expert_hidden_size",
    ),
    *("sparse_attention_config",),
)
"""Keys that tell of parts which are not counted here, whatever the family."""
