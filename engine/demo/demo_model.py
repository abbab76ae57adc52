"""Load the bundled demo model with its tokenizer, heads and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from adadecode.engine.demo import MODEL, PROMPTS
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.model_loader import DTYPES
from adadecode.engine.loading.prompt_file import read_texts
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The demo model with all that belongs to it.

    Attributes:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        heads: Its exit heads, one at every depth.
        examples: Held-out prompts of four domains, each with the number of new tokens up to which
            its text does not loop.
    """

    model: PreTrainedModel
    tokenizer: Any
    heads: ExitHeads
    examples: list[Prompt]

    @property
    def prompts(self) -> dict[str, list[str]]:
        """The texts of the examples by domain: arithmetic, code, prose, unpredictable."""
        return {domain: [prompt.text for prompt in self.of(domain)] for domain in self.domains}

    @property
    def domains(self) -> list[str]:
        """The domains of the examples."""
        return list(dict.fromkeys(prompt.domain for prompt in self.examples))

    def of(self, domain: str) -> list[Prompt]:
        """Return the examples of one domain.

        Raises:
            InputError: There is no such domain.
        """
        found = [prompt for prompt in self.examples if prompt.domain == domain]
        if not found:
            raise InputError(
                f"no examples of the domain {domain!r}: known are {', '.join(self.domains)}"
            )
        return found


def load_demo(dtype: str | torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Demo:
    """Load the demo model, with heads at every depth; nothing is downloaded.

    Example:
        ::

            demo = load_demo()
            decoder = AdaDecoder(demo.model, demo.heads)
            ids = demo.tokenizer(demo.prompts["arithmetic"][0], return_tensors="pt")["input_ids"]
            print(demo.tokenizer.decode(decoder.generate(ids, 64).tokens))

    Args:
        dtype: float16, bfloat16, float32 or float64, by name or as torch has it.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.

    Raises:
        InputError: The dtype or the device is unknown.
    """
    wanted = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in DTYPES.values():
        raise InputError(f"unknown dtype {dtype!r}: known are {', '.join(DTYPES)}")
    place = torch_device(str(device))
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=wanted, local_files_only=True)
    model = model.to(place).eval()
    return Demo(
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(MODEL, local_files_only=True),
        heads=ExitHeads.load(MODEL, model),
        examples=read_texts(PROMPTS),
    )
