"""Configs of models that people run, as they are published, with the parameters of their cards.

Sizes alone are kept. Counts are billions, of all parameters and of those that a token uses, from
the card or the technical report of each model; where a card counts the parts for images or for
predicting several tokens too, the count here is without them. None: not published.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Published(NamedTuple):
    """A model.

    Attributes:
        total: Billions of parameters.
        active: Billions of parameters that a token uses.
        config: The sizes in its config.
    """

    total: float
    active: float | None
    config: dict[str, Any]


def _sizes(
    kind: str, layers: int, hidden: int, inner: int, heads: int, keys: int, vocabulary: int,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    return {
        "model_type": kind,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": vocabulary,
        **more,
    }


def _every(n: int, layers: int, other: str) -> list[str]:
    return ["full_attention" if (i + 1) % n == 0 else other for i in range(layers)]


_LATENT = {
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
}  # fmt: skip
_FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
_MXFP4 = {
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"],
    }
}

PUBLISHED: dict[str, Published] = {
    # -- dense, layers alike --------------------
    "Llama-3.2-3B": Published(3.21, None, _sizes(
        "llama", 28, 3072, 8192, 24, 8, 128256, head_dim=128, tie_word_embeddings=True)),
    "Qwen2.5-0.5B": Published(0.494, None, _sizes(
        "qwen2", 24, 896, 4864, 14, 2, 151936, tie_word_embeddings=True)),
    "Qwen2.5-72B": Published(72.7, None, _sizes("qwen2", 80, 8192, 29568, 64, 8, 152064)),
    "Qwen3-0.6B": Published(0.596, None, _sizes(
        "qwen3", 28, 1024, 3072, 16, 8, 151936, head_dim=128, tie_word_embeddings=True)),
    "Qwen3-32B": Published(32.8, None, _sizes(
        "qwen3", 64, 5120, 25600, 64, 8, 151936, head_dim=128)),
    "Mistral-7B-v0.3": Published(7.25, None, _sizes(
        "mistral", 32, 4096, 14336, 32, 8, 32768, sliding_window=None)),
    "Mistral-Small-24B": Published(23.6, None, _sizes(
        "mistral", 40, 5120, 32768, 32, 8, 131072, head_dim=128, sliding_window=None)),
    "Mistral-Large-2407": Published(122.6, None, _sizes(
        "mistral", 88, 12288, 28672, 96, 8, 32768, sliding_window=None)),
    "Mistral-Nemo-12B": Published(12.2, None, _sizes(
        "mistral", 40, 5120, 14336, 32, 8, 131072, head_dim=128, sliding_window=None)),
    "phi-4": Published(14.7, None, _sizes("phi3", 40, 5120, 17920, 40, 10, 100352)),
    "Phi-3-mini": Published(3.82, None, _sizes(
        "phi3", 32, 3072, 8192, 32, 32, 32064, sliding_window=2047)),
    "phi-1.5": Published(1.42, None, _sizes("phi", 24, 2048, 8192, 32, 32, 51200)),
    "granite-3.1-8b": Published(8.17, None, _sizes(
        "granite", 40, 4096, 12800, 32, 8, 49155, tie_word_embeddings=True)),
    "OLMo-2-7B": Published(7.30, None, _sizes("olmo2", 32, 4096, 11008, 32, 32, 100352)),
    "OLMo-2-32B": Published(32.2, None, _sizes("olmo2", 64, 5120, 27648, 40, 8, 100352)),
    "OLMo-7B": Published(6.89, None, _sizes("olmo", 32, 4096, 11008, 32, 32, 50304)),
    "command-r-35b": Published(35.0, None, _sizes(
        "cohere", 40, 8192, 22528, 64, 64, 256000, use_qk_norm=False)),
    "command-r-plus": Published(103.8, None, _sizes(
        "cohere", 64, 12288, 33792, 96, 8, 256000, use_qk_norm=True)),
    "Seed-OSS-36B": Published(36.2, None, _sizes(
        "seed_oss", 64, 5120, 27648, 80, 8, 155136, head_dim=128, attention_bias=True,
        attention_out_bias=False)),
    "SmolLM3-3B": Published(3.08, None, _sizes(
        "smollm3", 36, 2048, 11008, 16, 4, 128256, tie_word_embeddings=True)),
    "StableLM-3B-4E1T": Published(2.80, None, _sizes("stablelm", 32, 2560, 6912, 32, 32, 50304)),
    "StableLM-2-1.6B": Published(1.64, None, _sizes(
        "stablelm", 24, 2048, 5632, 32, 32, 100352, use_qkv_bias=True)),
    "StarCoder2-15B": Published(16.0, None, _sizes(
        "starcoder2", 40, 6144, 24576, 48, 4, 49152, tie_word_embeddings=False)),
    "glm-4-9b": Published(9.40, None, _sizes(
        "glm", 40, 4096, 13696, 32, 2, 151552, head_dim=128, attention_bias=True)),
    "GLM-4-32B-0414": Published(32.6, None, _sizes(
        "glm4", 61, 6144, 23040, 48, 2, 151552, head_dim=128, attention_bias=False)),
    "Hunyuan-7B": Published(7.50, None, _sizes(
        "hunyuan_v1_dense", 32, 4096, 14336, 32, 8, 128167, head_dim=128,
        tie_word_embeddings=True)),
    "ERNIE-4.5-0.3B": Published(0.36, None, _sizes(
        "ernie4_5", 18, 1024, 3072, 16, 2, 103424, head_dim=128, tie_word_embeddings=True)),
    "Apertus-8B": Published(8.05, None, _sizes("apertus", 32, 4096, 21504, 32, 8, 131072)),
    "Apertus-70B": Published(70.6, None, _sizes("apertus", 80, 8192, 43008, 64, 8, 131072)),
    "AFM-4.5B": Published(4.62, None, _sizes(
        "arcee", 36, 2560, 18432, 20, 4, 128004, head_dim=128)),
    "Minitron-8B": Published(8.27, None, _sizes(
        "nemotron", 32, 4096, 16384, 48, 8, 256000, head_dim=128)),
    # -- windows in some layers --------------------
    "gemma-2-2b": Published(2.61, None, _sizes("gemma2", 26, 2304, 9216, 8, 4, 256000)),
    "gemma-2-27b": Published(27.2, None, _sizes(
        "gemma2", 46, 4608, 36864, 32, 16, 256000, head_dim=128)),
    "gemma-3-1b": Published(1.00, None, _sizes(
        "gemma3_text", 26, 1152, 6912, 4, 1, 262144, head_dim=256, sliding_window=512,
        sliding_window_pattern=6)),
    "gemma-3-27b": Published(27.0, None, {
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text", "num_hidden_layers": 62, "hidden_size": 5376,
            "intermediate_size": 21504, "num_attention_heads": 32, "num_key_value_heads": 16,
            "head_dim": 128, "sliding_window": 1024,
        },
    }),
    "command-r7b": Published(8.03, None, _sizes(
        "cohere2", 32, 4096, 14336, 32, 8, 256000, head_dim=128, sliding_window=4096,
        sliding_window_pattern=4)),
    "command-a-111b": Published(111.1, None, _sizes(
        "cohere2", 64, 12288, 36864, 96, 8, 256000, head_dim=128, sliding_window=4096,
        sliding_window_pattern=4)),
    "Olmo-3-7B": Published(7.30, None, _sizes(
        "olmo3", 32, 4096, 11008, 32, 32, 100278, sliding_window=4096)),
    "EXAONE-4.0-32B": Published(32.0, None, _sizes(
        "exaone4", 64, 5120, 27392, 40, 8, 102400, head_dim=128, sliding_window=4096,
        sliding_window_pattern="LLLG")),
    "EXAONE-4.0-1.2B": Published(1.28, None, _sizes(
        "exaone4", 30, 2048, 4096, 32, 8, 102400, head_dim=64, sliding_window=None,
        tie_word_embeddings=True)),
    "gemma-3n-E2B": Published(4.46, None, _sizes(
        "gemma3n_text", 30, 2048, 8192, 8, 2, 262400, head_dim=256, num_kv_shared_layers=10,
        vocab_size_per_layer_input=262144, hidden_size_per_layer_input=256)),
    # -- mixtures --------------------
    "Mixtral-8x22B": Published(140.6, 39.0, _sizes(
        "mixtral", 56, 6144, 16384, 48, 8, 32768, sliding_window=None)),
    "Qwen3-30B-A3B": Published(30.5, 3.3, _sizes(
        "qwen3_moe", 48, 2048, 6144, 32, 4, 151936, head_dim=128, moe_intermediate_size=768,
        num_experts=128, num_experts_per_tok=8)),
    "Qwen3-235B-A22B": Published(235.1, 22.0, _sizes(
        "qwen3_moe", 94, 4096, 12288, 64, 4, 151936, head_dim=128, moe_intermediate_size=1536,
        num_experts=128, num_experts_per_tok=8)),
    "Qwen1.5-MoE-A2.7B": Published(14.3, 2.7, _sizes(
        "qwen2_moe", 24, 2048, 5632, 16, 16, 151936, moe_intermediate_size=1408,
        shared_expert_intermediate_size=5632, num_experts=60, num_experts_per_tok=4)),
    "Qwen2-57B-A14B": Published(57.4, 14.0, _sizes(
        "qwen2_moe", 28, 3584, 18944, 28, 4, 151936, moe_intermediate_size=2560,
        shared_expert_intermediate_size=20480, num_experts=64, num_experts_per_tok=8)),
    "gpt-oss-20b": Published(20.9, 3.6, _sizes(
        "gpt_oss", 24, 2880, 2880, 64, 8, 201088, head_dim=64, num_local_experts=32,
        num_experts_per_tok=4, sliding_window=128, **_MXFP4)),
    "gpt-oss-120b": Published(116.8, 5.1, _sizes(
        "gpt_oss", 36, 2880, 2880, 64, 8, 201088, head_dim=64, num_local_experts=128,
        num_experts_per_tok=4, sliding_window=128, **_MXFP4)),
    "Llama-4-Scout": Published(107.8, 17.2, _sizes(
        "llama4_text", 48, 5120, 8192, 40, 8, 202048, head_dim=128, intermediate_size_mlp=16384,
        num_local_experts=16, num_experts_per_tok=1, interleave_moe_layer_step=1)),
    "Llama-4-Maverick": Published(400.7, 17.2, _sizes(
        "llama4_text", 48, 5120, 8192, 40, 8, 202048, head_dim=128, intermediate_size_mlp=16384,
        num_local_experts=128, num_experts_per_tok=1, interleave_moe_layer_step=2)),
    "Phi-3.5-MoE": Published(41.9, 6.6, _sizes(
        "phimoe", 32, 4096, 6400, 32, 8, 32064, attention_bias=True, lm_head_bias=True,
        num_local_experts=16, num_experts_per_tok=2)),
    "granite-3.1-3b-a800m": Published(3.3, 0.88, _sizes(
        "granitemoe", 32, 1536, 512, 24, 8, 49155, num_local_experts=40, num_experts_per_tok=8,
        tie_word_embeddings=True)),
    "OLMoE-1B-7B": Published(6.92, 1.28, _sizes(
        "olmoe", 16, 2048, 1024, 16, 16, 50304, num_experts=64, num_experts_per_tok=8)),
    "GLM-4.5": Published(352.8, 32.0, _sizes(
        "glm4_moe", 92, 5120, 12288, 96, 8, 151552, head_dim=128, moe_intermediate_size=1536,
        n_routed_experts=160, n_shared_experts=1, num_experts_per_tok=8, first_k_dense_replace=3,
        attention_bias=True, use_qk_norm=True)),
    "GLM-4.5-Air": Published(106.9, 12.0, _sizes(
        "glm4_moe", 46, 4096, 10944, 96, 8, 151552, head_dim=128, moe_intermediate_size=1408,
        n_routed_experts=128, n_shared_experts=1, num_experts_per_tok=8, first_k_dense_replace=1,
        attention_bias=True, use_qk_norm=False)),
    "ERNIE-4.5-21B-A3B": Published(21.8, 3.0, _sizes(
        "ernie4_5_moe", 28, 2560, 12288, 20, 4, 103424, moe_intermediate_size=1536,
        moe_num_experts=64, moe_k=6, moe_num_shared_experts=2, moe_layer_start_index=1,
        tie_word_embeddings=True)),
    "ERNIE-4.5-300B-A47B": Published(300.5, 47.0, _sizes(
        "ernie4_5_moe", 54, 8192, 28672, 64, 8, 103424, moe_intermediate_size=3584,
        moe_num_experts=64, moe_k=8, moe_num_shared_experts=0, moe_layer_start_index=3,
        moe_layer_end_index=53, tie_word_embeddings=False)),
    "Hunyuan-A13B": Published(80.4, 13.0, _sizes(
        "hunyuan_v1_moe", 32, 4096, 3072, 32, 8, 128167, head_dim=128, num_experts=64,
        moe_topk=8, tie_word_embeddings=True)),
    "dots.llm1": Published(142.8, 14.0, _sizes(
        "dots1", 62, 4096, 10944, 32, 32, 152064, head_dim=128, moe_intermediate_size=1408,
        n_routed_experts=128, n_shared_experts=2, num_experts_per_tok=6,
        first_k_dense_replace=1)),
    "MiniMax-M2": Published(228.7, 10.0, _sizes(
        "minimax_m2", 62, 3072, 1536, 48, 8, 200064, head_dim=128, num_local_experts=256,
        num_experts_per_tok=8, **_FP8)),
    "DBRX": Published(131.6, 36.0, {
        "model_type": "dbrx", "n_layers": 40, "d_model": 6144, "n_heads": 48,
        "max_seq_len": 32768, "vocab_size": 100352, "attn_config": {"kv_n_heads": 8},
        "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
    }),
    # -- latent attention --------------------
    "DeepSeek-V2-Lite": Published(15.7, 2.4, _sizes(
        "deepseek_v2", 27, 2048, 10944, 16, 16, 102400, q_lora_rank=None,
        moe_intermediate_size=1408, n_routed_experts=64, n_shared_experts=2,
        num_experts_per_tok=6, first_k_dense_replace=1, **_LATENT)),
    "DeepSeek-V2": Published(235.7, 21.0, _sizes(
        "deepseek_v2", 60, 5120, 12288, 128, 128, 102400, q_lora_rank=1536,
        moe_intermediate_size=1536, n_routed_experts=160, n_shared_experts=2,
        num_experts_per_tok=6, first_k_dense_replace=1, **_LATENT)),
    "DeepSeek-V3": Published(671.0, 37.0, _sizes(
        "deepseek_v3", 61, 7168, 18432, 128, 128, 129280, q_lora_rank=1536,
        moe_intermediate_size=2048, n_routed_experts=256, n_shared_experts=1,
        num_experts_per_tok=8, first_k_dense_replace=3, **_LATENT, **_FP8)),
    "Kimi-K2": Published(1026.0, 32.0, _sizes(
        "kimi_k2", 61, 7168, 18432, 64, 64, 163840, q_lora_rank=1536,
        moe_intermediate_size=2048, n_routed_experts=384, n_shared_experts=1,
        num_experts_per_tok=8, first_k_dense_replace=1, **_LATENT, **_FP8)),
    "Moonlight-16B-A3B": Published(15.96, 2.24, _sizes(
        "deepseek_v3", 27, 2048, 11264, 16, 16, 163840, q_lora_rank=None,
        moe_intermediate_size=1408, n_routed_experts=64, n_shared_experts=2,
        num_experts_per_tok=6, first_k_dense_replace=1, **_LATENT)),
    "MiniCPM3-4B": Published(4.07, None, _sizes(
        "minicpm3", 62, 2560, 6400, 40, 40, 73448, q_lora_rank=768, kv_lora_rank=256,
        qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64, tie_word_embeddings=True)),
    "MiMo-V2-Flash": Published(309.0, 15.0, _sizes(
        "mimo_v2_flash", 48, 4096, 16384, 64, 4, 152576, head_dim=192, v_head_dim=128,
        sliding_window=128, n_routed_experts=256, num_experts_per_tok=8,
        moe_intermediate_size=2048, moe_layer_freq=[0] + [1] * 47,
        hybrid_layer_pattern=[int(i % 6 != 5 and i != 0) for i in range(48)], **_FP8)),
    "gemma-4-26B-A4B": Published(25.2, 3.8, _sizes(
        "gemma4_text", 30, 2816, 2112, 16, 8, 262144, head_dim=256, global_head_dim=512,
        num_global_key_value_heads=2, attention_k_eq_v=True, enable_moe_block=True,
        hidden_size_per_layer_input=0, moe_intermediate_size=704, num_experts=128,
        top_k_experts=8, sliding_window=1024, num_kv_shared_layers=0,
        layer_types=_every(6, 30, "sliding_attention"))),
    # -- hybrids, and states alone --------------------
    "Qwen3-Next-80B-A3B": Published(79.7, 3.9, _sizes(
        "qwen3_next", 48, 2048, 5120, 16, 2, 151936, head_dim=256, moe_intermediate_size=512,
        shared_expert_intermediate_size=512, num_experts=512, num_experts_per_tok=10,
        full_attention_interval=4)),
    "MiniMax-Text-01": Published(456.1, 45.9, _sizes(
        "minimax", 80, 6144, 9216, 64, 8, 200064, head_dim=128, num_local_experts=32,
        num_experts_per_tok=2, attn_type_list=[int((i + 1) % 8 == 0) for i in range(80)])),
    "Jamba-1.5-Mini": Published(51.6, 12.0, _sizes("jamba", 32, 4096, 14336, 32, 8, 65536)),
    "Jamba-1.5-Large": Published(398.6, 94.0, _sizes(
        "jamba", 72, 8192, 24576, 64, 8, 65536, mamba_dt_rank=512)),
    "Nemotron-H-8B": Published(8.10, None, _sizes(
        "nemotron_h", 52, 4096, 21504, 32, 8, 131072,
        hybrid_override_pattern="M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-")),
    "Nemotron-3-Nano-30B": Published(31.6, 3.2, _sizes(
        "nemotron_h", 52, 2688, 1856, 32, 2, 131072, head_dim=128, mamba_num_heads=64,
        mamba_head_dim=64, n_routed_experts=128, n_shared_experts=1, num_experts_per_tok=6,
        moe_intermediate_size=1856, moe_shared_expert_intermediate_size=3712,
        hybrid_override_pattern="MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME")),
    "Nemotron-3-Super-120B": Published(120.7, 12.7, _sizes(
        "nemotron_h", 88, 4096, 2688, 32, 2, 131072, head_dim=128, mamba_num_heads=128,
        mamba_head_dim=64, n_routed_experts=512, n_shared_experts=1, num_experts_per_tok=22,
        moe_intermediate_size=2688, moe_latent_size=1024,
        moe_shared_expert_intermediate_size=5376,
        hybrid_override_pattern="MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*"
        "EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME")),
    "Bamba-9B": Published(9.78, None, _sizes(
        "bamba", 32, 4096, 14336, 32, 8, 128256, mamba_d_state=128,
        attn_layer_indices=[9, 18, 27])),
    "Falcon-H1-0.5B": Published(0.52, None, _sizes(
        "falcon_h1", 36, 1024, 2048, 8, 2, 32784, head_dim=64, mamba_d_ssm=1536,
        mamba_n_heads=24, mamba_d_head=64, mamba_d_state=128, tie_word_embeddings=False)),
    "granite-4.0-h-tiny": Published(6.94, None, _sizes(
        "granitemoehybrid", 40, 1536, 512, 12, 4, 100352, shared_intermediate_size=1024,
        num_local_experts=64, num_experts_per_tok=6, mamba_n_heads=48, mamba_d_head=64,
        mamba_d_state=128, tie_word_embeddings=True,
        layer_types=["attention" if i in (5, 15, 25, 35) else "mamba" for i in range(40)])),
    "granite-4.0-h-small": Published(32.2, 9.0, _sizes(
        "granitemoehybrid", 40, 4096, 768, 32, 8, 100352, shared_intermediate_size=1536,
        num_local_experts=72, num_experts_per_tok=10, mamba_n_heads=128, mamba_d_head=64,
        mamba_d_state=128, tie_word_embeddings=True,
        layer_types=["attention" if i in (5, 15, 25, 35) else "mamba" for i in range(40)])),
    "LFM2-1.2B": Published(1.17, None, _sizes(
        "lfm2", 16, 2048, 12288, 32, 8, 65536, full_attn_idxs=[2, 5, 8, 10, 12, 14])),
    "LFM2-8B-A1B": Published(8.34, 1.5, _sizes(
        "lfm2_moe", 24, 2048, 7168, 32, 8, 65536, moe_intermediate_size=1792, num_experts=32,
        num_experts_per_tok=4, num_dense_layers=2,
        layer_types=[
            "full_attention" if i in (2, 6, 10, 14, 18, 21) else "conv" for i in range(24)
        ])),
    "Kimi-Linear-48B-A3B": Published(49.1, 3.0, _sizes(
        "kimi_linear", 27, 2304, 9216, 32, 32, 163840, q_lora_rank=None,
        moe_intermediate_size=1024, num_experts=256, num_experts_per_token=8,
        num_shared_experts=1, first_k_dense_replace=1,
        linear_attn_config={
            "full_attn_layers": [4, 8, 12, 16, 20, 24, 27], "head_dim": 128, "num_heads": 32,
            "short_conv_kernel_size": 4,
            "kda_layers": [i for i in range(1, 27) if i % 4],
        }, **_LATENT)),
    "mamba-2.8b": Published(2.77, None, {
        "model_type": "mamba", "num_hidden_layers": 64, "hidden_size": 2560,
        "intermediate_size": 5120, "state_size": 16, "time_step_rank": 160, "vocab_size": 50280,
    }),
    "falcon-mamba-7b": Published(7.27, None, {
        "model_type": "falcon_mamba", "num_hidden_layers": 64, "hidden_size": 4096,
        "intermediate_size": 8192, "state_size": 16, "time_step_rank": 256, "vocab_size": 65024,
        "tie_word_embeddings": False,
    }),
    "Codestral-Mamba-7B": Published(7.29, None, {
        "model_type": "mamba2", "num_hidden_layers": 64, "hidden_size": 4096, "num_heads": 128,
        "head_dim": 64, "state_size": 128, "n_groups": 8, "vocab_size": 32768,
    }),
}  # fmt: skip
