"""Prompts of public data sets, which stay outside the project: the paper's own kinds of text.

They lie in the folder that ``ADADECODE_PROMPTS`` names, by default ``../shared/data/prompts``:
``gsm8k.jsonl`` (GSM8K), ``humaneval.jsonl`` (HumanEval) and ``spec_bench.jsonl`` (Spec-Bench), each
as its authors publish it. Every prompt is put to the model by the model's chat template.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from adadecode.engine.loading.chat_template import chat_prompts
from adadecode.engine.loading.prompt_file import read_prompts
from adadecode.engine.loading.prompts import Prompt, encode

SETS = {
    "GSM8K": ("gsm8k.jsonl", "question", None),
    "HumanEval": ("humaneval.jsonl", "prompt", None),
    "summaries": ("spec_bench.jsonl", "turns", "summarization"),
}
"""The file of each set, the field that holds the prompt, and the only category to take."""

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "prompts"


def prompt_folder() -> Path:
    """Return the folder of the data sets.

    Raises:
        SystemExit: If one of them is not there.
    """
    folder = Path(os.environ.get("ADADECODE_PROMPTS", _DEFAULT))
    missing = [file for file, _, _ in SETS.values() if not (folder / file).is_file()]
    if missing:
        raise SystemExit(
            f"wanted the data sets in {folder}, got no {', '.join(missing)}: put them there as "
            "published, or name another folder in ADADECODE_PROMPTS"
        )
    return folder


def questions(name: str, count: int, skip: int = 0) -> list[str]:
    """Return some prompts of a data set, as its authors wrote them.

    Args:
        name: Of `SETS`.
        count: How many.
        skip: How many at the beginning are left out.

    Raises:
        SystemExit: If the set is not there, or has fewer.
    """
    file, field, category = SETS[name]
    entries = read_prompts(prompt_folder() / file, field=field).prompts
    found = [
        one.text
        for one in entries
        if isinstance(one, Prompt) and (category is None or one.domain == category)
    ][skip : skip + count]
    if len(found) < count:
        raise SystemExit(f"wanted {count} prompts of {name} after the first {skip}: it has fewer")
    return found


def chats(name: str, tokenizer: PreTrainedTokenizerBase, count: int, skip: int = 0) -> list[Prompt]:
    """Return the same as the model's chat template writes them."""
    messages = [[{"role": "user", "content": text}] for text in questions(name, count, skip)]
    return [replace(prompt, domain=name) for prompt in chat_prompts(tokenizer, messages)]


def encoded(
    name: str, tokenizer: PreTrainedTokenizerBase, count: int, skip: int = 0
) -> list[torch.Tensor]:
    """Return the same as token ids, shape (1, n) each."""
    return [encode(tokenizer, prompt) for prompt in chats(name, tokenizer, count, skip)]
