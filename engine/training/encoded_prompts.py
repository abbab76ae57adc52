"""The prompts of a training run as token ids, and which of them are held out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.profiles.errors import InputError


def encode_all(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    model: PreTrainedModel,
    max_new_tokens: int,
) -> list[torch.Tensor]:
    """Return the token ids (1, n) of every different prompt.

    A prompt given twice counts once: it must not be trained on and held out.

    Raises:
        InputError: A prompt does not fit the model's positions or vocabulary, or all are the same.
    """
    config = model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None) or math.inf
    found: dict[tuple[int, ...], torch.Tensor] = {}
    for number, prompt in enumerate(prompts, 1):
        ids = encode(tokenizer, prompt)
        if ids.shape[1] + max_new_tokens > longest:
            raise InputError(
                f"prompt {number} has {ids.shape[1]} tokens, and {max_new_tokens} more pass the "
                f"model's {longest} positions: shorten it, or lower --max-new-tokens"
            )
        if int(ids.max()) >= config.vocab_size:
            raise InputError(
                f"prompt {number} has the token {int(ids.max())}, this model knows "
                f"{config.vocab_size}: the tokenizer belongs to another model"
            )
        found[tuple(ids[0].tolist())] = ids
    if len(found) < 2:
        raise InputError(
            "wanted 2 different prompts or more, some to train on and some held out, "
            f"got {len(found)}"
        )
    return list(found.values())


def split(count: int, held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Return which prompts to train on, and which are held out.

    Their order is random, so that neighbours in a shard are unrelated.
    """
    order = random.Random(seed).sample(range(count), count)
    kept = min(count - 1, max(1, round(held_out * count)))
    return order[kept:], order[:kept]
