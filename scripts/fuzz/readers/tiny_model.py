"""A tiny language model with a tokenizer, the same in every run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

VOCABULARY = 97


@cache
def tiny_model() -> tuple[Any, Any]:
    """Return a Llama of six layers with random weights, and its tokenizer: a token a word."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, VOCABULARY)}}
    names = dict(zip(("pad_token", "bos_token", "eos_token"), words, strict=False))
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=names["pad_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return model, PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def save_tiny_model(folder: Path) -> None:
    """Write it as `transformers` does."""
    model, tokenizer = tiny_model()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def decoded(model: Any, heads: Any = None) -> str:  # noqa: ANN401 - known when it is loaded
    """Return what a model and its heads make of a prompt, as text."""
    import torch

    from adadecode.engine import AdaDecoder

    decoder = AdaDecoder(model, heads)
    prompt = torch.tensor([[5, 6, 7]])
    drafting = {} if heads is None else {"gamma": 0.02, "cap": 3}
    policy = "vanilla" if heads is None else "adadecode"
    done = decoder.generate(prompt, max_new_tokens=12, policy=policy, **drafting)
    return f"{done.tokens} {[(one.exits, one.accepted) for one in done.rounds]}"
