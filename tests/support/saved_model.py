"""A tiny model on disk with a tokenizer and prompts, and the command that records it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from adadecode.engine.cli.profile import app
from adadecode.profiles.errors import InputError
from tests.support.models import tiny_model


def saved_model(folder: Path, dtype: torch.dtype = torch.float32, vocabulary: int = 97) -> Path:
    """Six layers, a token a word, two prompts (``prompts.jsonl``)."""
    tiny_model("llama", dtype, vocab_size=vocabulary).save_pretrained(folder)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, vocabulary)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    lines = [{"prompt": f"w{i} w{i + 1} w{i + 2}", "domain": "d"} for i in (10, 20)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def options(model: Path, out: Path) -> list[str]:
    """A short recording of it: vanilla, adadecode and fixed at depth 2."""
    named = [
        "--model",
        str(model),
        "--heads",
        "identity:2,4",
        "--prompts",
        str(model / "prompts.jsonl"),
        "--out",
        str(out),
    ]
    return [
        *named,
        "--max-new-tokens",
        "6",
        "--gammas",
        "0.02",
        "--placements",
        "2",
        "--repeats",
        "1",
        *("--cap", "2", "--contexts", "4,9"),
    ]


def refusal(arguments: list[str]) -> str:
    """What a recording that is refused says."""
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)
