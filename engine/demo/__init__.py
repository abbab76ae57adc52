"""The bundled demo model: small, but a real language model with real exit heads and real prompts (see model/README.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.model_loader import DTYPES
from adadecode.engine.loading.prompts import Prompt, read_prompts
from adadecode.profiles.errors import InputError

MODEL = Path(__file__).parent / "model"
PROMPTS = MODEL / "prompts.jsonl"


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The demo model. examples: held-out prompts of four domains, each with the length up to which its text does not loop."""

    model: PreTrainedModel
    tokenizer: Any
    heads: ExitHeads
    examples: list[Prompt]

    @property
    def prompts(self) -> dict[str, list[str]]:
        """The texts of the examples by domain: arithmetic, code, prose, unpredictable."""
        return {
            domain: [p.text for p in self.of(domain)]
            for domain in dict.fromkeys(p.domain for p in self.examples)
        }

    def of(self, domain: str) -> list[Prompt]:
        """The examples of one domain."""
        return [prompt for prompt in self.examples if prompt.domain == domain]


def load_demo(dtype: str | torch.dtype = torch.float32, device: str = "cpu") -> Demo:
    """Load the demo model, with heads at every depth. Raises InputError where the dtype is unknown."""
    wanted = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in DTYPES.values():
        raise InputError(f"unknown dtype {dtype!r}: known are {', '.join(DTYPES)}")
    model = (
        AutoModelForCausalLM.from_pretrained(MODEL, dtype=wanted, local_files_only=True)
        .to(device)
        .eval()
    )
    tokenizer = AutoTokenizer.from_pretrained(MODEL, local_files_only=True)
    return Demo(
        model=model,
        tokenizer=tokenizer,
        heads=ExitHeads.load(MODEL, model),
        examples=read_prompts(PROMPTS),
    )
