"""A short training run on a tiny model, and a way to stop it anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from adadecode.engine.loading.prompts import Prompt

DEPTHS = (1, 2)  # the tiny model's later layers change little
END = "</s>"
PROMPTS = [
    Prompt(text=f"{word} {number}")
    for number in range(4)
    for word in ("the quick", "brown fox", "jumps")
]
SETTINGS: dict[str, Any] = {
    "max_new_tokens": 16,
    "epochs": 12,
    "batch_tokens": 48,
    "lr": 3e-3,
    "batch_prompts": 4,
}


def letter_tokenizer() -> PreTrainedTokenizerFast:
    """97 tokens, a letter each; id 2 ends a text, as in the tiny models."""
    vocabulary = {"<pad>": 0, "<s>": 1, END: 2, **{chr(32 + i): 3 + i for i in range(94)}}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[])), eos_token=END
    )


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int) -> None:
    """Ctrl-C in the call of ``owner.name`` that follows ``after`` whole ones."""
    whole, calls = getattr(owner, name), iter(range(after))

    def stopping(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, stopping)
