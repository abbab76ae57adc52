"""Tiny random causal LMs of many architectures that are served, and of some that are refused.

They are built from configs: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from tests.support.quick import quick_or_slow

N_LAYERS = 6
VOCABULARY = 97
WINDOW = 8
MAX_POSITIONS = 128

_LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": MAX_POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT2_LIKE: dict[str, Any] = {
    "n_embd": 64,
    "n_layer": N_LAYERS,
    "n_head": 4,
    "n_positions": MAX_POSITIONS,
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

_SLIDES: dict[str, Any] = {"sliding_window": WINDOW}

# What each architecture needs in addition. A window is only given to those that slide; what others
# make of one is in tests/engine/model/test_window.py.
_SERVED: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {
        **_SLIDES,
        "use_sliding_window": True,
        "max_window_layers": 3,
    },  # the last three layers slide
    "qwen3": {},
    "mistral": _SLIDES,
    "gemma": {},
    "gemma2": {
        **_SLIDES,
        "query_pre_attn_scalar": 16,
        "attn_implementation": "eager",  # sdpa leaves its soft cap out, see test_window.py
    },
    "gemma3_text": {**_SLIDES, "query_pre_attn_scalar": 16},
    "phi3": _SLIDES,
    "olmo2": {},
    "olmo3": _SLIDES,
    "gpt_neox": {},
    "gpt2": {},
    "phi": {},
    "starcoder2": _SLIDES,
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.7},
    "cohere": {"logit_scale": 0.5},
    "cohere2": {**_SLIDES, "logit_scale": 0.5},
    "smollm3": {},
    "qwen3_moe": {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    "mixtral": {**_SLIDES, "num_local_experts": 4},
    "gpt_oss": {**_SLIDES, "num_local_experts": 4, "num_experts_per_tok": 2},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "stablelm": {},
    "nemotron": {},
    "exaone4": _SLIDES,
    "glm4": {},
    "ministral": _SLIDES,
    "hunyuan_v1_dense": {},
    # the attention of these two is not given the window; their masks show it
    "qwen2_moe": {
        **_SLIDES,
        "use_sliding_window": True,
        "max_window_layers": 3,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    },
    "phimoe": {**_SLIDES, "num_local_experts": 4},
}
_REFUSED: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": N_LAYERS, "n_head": 4},
    "falcon": {"head_dim": None},
    "electra": {"is_decoder": True},
    "gptj": {"rotary_dim": 8},
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": N_LAYERS},
    "mamba": {},
    "qwen3_next": {
        "num_experts": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "linear_num_value_heads": 4,
    },
    "jamba": {},
    "recurrent_gemma": {},
    "t5": {"d_model": 64, "d_ff": 96, "num_layers": N_LAYERS, "num_heads": 4, "d_kv": 16},
}
_GPT2_NAMES = ("gpt2", "gptj")

ARCHITECTURES = list(_SERVED)
SLIDING = [name for name, own in _SERVED.items() if "sliding_window" in own]
"""Those of which some layers see only the last ``WINDOW`` positions, as configured here."""
REFUSED = list(_REFUSED)
QUICK = ("llama", "qwen2", "gemma2", "gpt2", "granite", "gpt_oss")
"""Those that every run tests; the others are for ``make test-all``.

They differ in what the engine meets: plain layers; biases and layers of which only some slide; soft
caps and windows that alternate; learned positions; factors on embeddings, residuals and logits;
sinks and experts.
"""


def architectures(*quick: str, among: Iterable[str] = ARCHITECTURES) -> list[Any]:
    """Return architectures as test parameters, marked slow unless they are quick ones."""
    return [quick_or_slow(name, quick=quick or QUICK, id=name) for name in among]


def tiny_model(
    architecture: str, dtype: torch.dtype = torch.float64, seed: int = 0, **config: Any
) -> PreTrainedModel:
    """A random model of 6 layers and 97 tokens, on the CPU. ``config`` overrides single settings.

    Its weights are large enough that its greedy text does not loop at once. The later layers
    change less than the early ones,
    so that some drafts are right and some are wrong.
    """
    settings = {
        **(_GPT2_LIKE if architecture in _GPT2_NAMES else _LLAMA_LIKE),
        "tie_word_embeddings": False,
    }
    settings |= {**_SERVED, **_REFUSED}[architecture]
    settings = {name: value for name, value in (settings | config).items() if value is not None}
    made = CONFIG_MAPPING[architecture](**settings)
    made._experts_implementation = "eager"  # the fused ones know no FP64
    auto = AutoModelForSeq2SeqLM if made.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model: PreTrainedModel = auto.from_config(made, dtype=dtype).eval()
    return roughen(model, seed)


def roughen(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a random model with noise on its weights, which is large in its first layers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.add_((noise * (_spread(name) if weight.ndim > 1 else 0.1)).to(weight.dtype))
    return model


def _spread(name: str) -> float:
    """Standard deviation of the noise on a matrix: less in the later layers."""
    layer = next((int(part) for part in name.split(".") if part.isdigit()), 0)
    return 0.4 if layer < 3 else 0.15


def random_prompt(length: int, seed: int = 0) -> torch.Tensor:
    """Token ids (1, length), none of them a special one."""
    generator = torch.Generator().manual_seed(1000 * seed + length)
    return torch.randint(3, VOCABULARY, (1, length), generator=generator)


def greedy_text(
    model: PreTrainedModel,
    prompt: torch.Tensor,
    max_new_tokens: int,
    eos: int | list[int] | None = None,
) -> list[int]:
    """The reference: the new tokens of the model's own greedy ``generate``."""
    mask = torch.ones_like(prompt)
    out = model.generate(
        prompt,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=eos,
        pad_token_id=0,
    )
    tokens: list[int] = out[0, prompt.shape[1] :].tolist()
    return tokens


def gap_at(model: PreTrainedModel, prompt: torch.Tensor, text: list[int], at: int) -> float:
    """Return how far apart the two best logits for token ``at`` are, relative to the larger.

    The text is teacher-forced.
    """
    with torch.no_grad():
        logits = model(torch.cat([prompt, torch.tensor([text[:at]], dtype=torch.long)], 1)).logits[
            0, -1
        ]
    best, second = logits.double().topk(2).values.tolist()
    return float((best - second) / max(abs(best), abs(second)))


def random_heads(
    model: PreTrainedModel,
    depths: Iterable[int] = range(1, N_LAYERS),
    *,
    scale: float = 3.0,
    seed: int = 0,
    gates: bool = False,
) -> ExitHeads:
    """Return heads with random matrices, which know nothing; nearly every draft is wrong.

    The larger ``scale``, the surer of themselves they are. ``gates`` adds random gates, whose
    scores lie on both sides of 0.5.
    """
    generator = torch.Generator().manual_seed(seed)
    width = model.config.hidden_size
    return ExitHeads(
        model,
        {
            d: torch.randn((width, width), generator=generator, dtype=torch.float64)
            * (scale / width**0.5)
            for d in depths
        },
        gates=Gates.random(list(depths), width, seed) if gates else None,
    )
