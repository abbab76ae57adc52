"""Load a model for which heads and prompts come with this program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from adadecode.engine.demo import DEMO, SMOLLM2, Bundle
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.chat_template import settle_prompts
from adadecode.engine.loading.model_loader import DTYPES, load_model
from adadecode.engine.loading.prompt_source import PromptSource
from adadecode.engine.loading.prompts import Prompt
from adadecode.profiles.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A model with all that belongs to it.

    Attributes:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        heads: Its exit heads; those of the demo model stand at every depth.
        examples: Held-out prompts of four domains; those of the demo model with the number of new
            tokens up to which its text does not loop.
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
    return _load(DEMO, dtype, device)


def load_smollm2(
    dtype: str | torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Demo:
    """Load SmolLM2-135M-Instruct, a chat model that others trained, with heads at six depths.

    Its examples are prompts of four kinds, put as its chat template has them.

    Args:
        dtype: See `load_demo`.
        device: See `load_demo`.

    Raises:
        InputError: The dtype or the device is unknown, or the model was not fetched; the message
            says what to run.
    """
    return _load(SMOLLM2, dtype, device)


def _load(what: Bundle, dtype: str | torch.dtype, device: str | torch.device) -> Demo:
    """Load a model with all that comes with this program for it."""
    wanted = {name: one for name, one in DTYPES.items() if dtype in (name, one)}
    if not wanted:
        raise InputError(f"unknown dtype {dtype!r}: known are {', '.join(DTYPES)}")
    model, tokenizer = load_model(what.model, next(iter(wanted)), str(device))
    source = PromptSource(prompts=str(what.prompts))
    found = source.read(what.prompts, _silent).prompts
    return Demo(
        model=model,
        tokenizer=tokenizer,
        heads=ExitHeads.load(what.heads, model),
        examples=settle_prompts(found, tokenizer, source, _silent, model=what.called),
    )


def _silent(_: str) -> None:
    """Print nothing."""
