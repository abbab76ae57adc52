"""Tiny GGUF files of random models, written as llama.cpp's converter writes them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedModel

from tests.support.models import tiny_model

WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
"""The special tokens of a vocabulary, the first ones."""

TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""By the name of a part of a layer, what llama.cpp calls it."""

QUANTISED = gguf.GGMLQuantizationType.Q8_0


def vocabulary(size: int = 300) -> tuple[list[str], list[str]]:
    """Return the tokens of a BPE vocabulary over bytes, and its merges."""
    letters = sorted(ByteLevel.alphabet())
    merges = [("Ġ", "Ġ"), ("Ċ", "Ċ"), ("1", "2"), ("h", "i"), ("ĠĠ", "ĠĠ")]
    tokens = [*WORDS, *letters, *(left + right for left, right in merges)]
    tokens += [f"<unused{index}>" for index in range(size - len(tokens))]
    return tokens, [" ".join(pair) for pair in merges]


def llama_model(*, tied: bool = True, seed: int = 0, **config: Any) -> PreTrainedModel:
    """Return a tiny Llama whose sizes are multiples of a block; ``config`` adds settings."""
    torch.manual_seed(seed)
    return tiny_model(
        "llama",
        vocab_size=len(vocabulary()[0]),
        hidden_size=64,
        tie_word_embeddings=tied,
        eos_token_id=2,
        bos_token_id=1,
        **config,
    )


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    *,
    architecture: str = "llama",
    pre: str | None = "smollm",
    quantised: bool = True,
    settings: dict[str, Any] | None = None,
    extra: dict[str, np.ndarray] | None = None,
) -> dict[str, torch.Tensor]:
    """Write a Llama as a GGUF file.

    Args:
        path: Where to write.
        model: The model.
        architecture: What the file says that it is.
        pre: How its tokenizer splits texts; None leaves it out.
        quantised: Whether matrices are packed in blocks of 8 bits.
        settings: Other numbers, flags and texts by their key.
        extra: Tensors that it holds besides.

    Returns:
        What the weights are, once they are unpacked, by their names in ``transformers``.
    """
    writer = gguf.GGUFWriter(path, architecture)
    config, wanted = model.config, {}
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, pre)
    for key, value in (settings or {}).items():
        adds = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
        }
        adds[type(value)](key, value)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = weight.float().numpy()
        packs = quantised and values.ndim > 1 and values.shape[-1] % 32 == 0
        if packs:
            blocks = gguf.quants.quantize(_as_llama_cpp(name, values, config), QUANTISED)
            writer.add_tensor(_called(name), blocks, raw_dtype=QUANTISED)
            values = gguf.quants.dequantize(gguf.quants.quantize(values, QUANTISED), QUANTISED)
        else:
            writer.add_tensor(_called(name), _as_llama_cpp(name, values, config))
        wanted[name] = torch.from_numpy(np.array(values))
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return wanted


def llama3_factors(width: int, base: float, factor: float) -> np.ndarray:
    """Return the factors of rotary frequencies as llama.cpp's converter works them out.

    Args:
        width: Of a head.
        base: Of the frequencies.
        factor: By which the slowest are divided, in a model that was trained on 8,192 positions.
    """
    factors = []
    for frequency in 1.0 / base ** (torch.arange(0, width, 2, dtype=torch.float32) / width):
        turns = 8192 / (2 * math.pi / frequency.item())
        smooth = min(max((turns - 1.0) / (4.0 - 1.0), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


def _add_tokenizer(writer: gguf.GGUFWriter, pre: str | None) -> None:
    tokens, merges = vocabulary()
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(WORDS) + [1] * (len(tokens) - len(WORDS)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)


def _called(name: str) -> str:
    """Return what llama.cpp calls a weight."""
    if name.startswith("model.layers."):
        _, _, number, part = name.split(".", 3)
        kind, _, what = part.rpartition(".")
        return f"blk.{number}.{_NAMES[kind]}.{what}"
    return {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }[name]


def _as_llama_cpp(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """Return a weight with the rows of queries and keys in llama.cpp's order."""
    heads = {
        "q_proj": config.num_attention_heads,
        "k_proj": config.num_key_value_heads,
    }.get(name.split(".")[-2])
    if heads is None:
        return values
    rows = values.shape[0] // heads // 2
    return np.ascontiguousarray(
        values.reshape(heads, 2, rows, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    )
