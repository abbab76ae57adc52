"""The bundled demo model: small, but a real language model with real exit heads and real prompts (see model/README.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from engine.heads import ExitHeads
from engine.loading import DTYPES
from profiles.errors import InputError

MODEL = Path(__file__).parent / "model"
PROMPTS = MODEL / "prompts.jsonl"


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The demo model. prompts: held-out prompts by domain: arithmetic, code, prose, unpredictable."""

    model: PreTrainedModel
    tokenizer: Any
    heads: ExitHeads
    prompts: dict[str, list[str]]


def load_demo(dtype: str | torch.dtype = torch.float32, device: str = "cpu") -> Demo:
    """Load the demo model, with heads at every depth. Raises InputError where the dtype is unknown."""
    wanted = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in DTYPES.values():
        raise InputError(f"unknown dtype {dtype!r}: known are {', '.join(DTYPES)}")
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=wanted, local_files_only=True).to(device).eval()
    prompts: dict[str, list[str]] = {}
    for line in PROMPTS.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        prompts.setdefault(entry["domain"], []).append(entry["prompt"])
    tokenizer = AutoTokenizer.from_pretrained(MODEL, local_files_only=True)
    return Demo(model=model, tokenizer=tokenizer, heads=ExitHeads.load(MODEL, model), prompts=prompts)
