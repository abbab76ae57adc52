"""``generate`` of ``transformers`` in its variants, as baselines.

What works depends on the architecture. In transformers 5.17 ``assistant_early_exit`` works on 9 of
the 28 that the engine is tested on (llama, gemma, olmo2, phi, granite, cohere, glm4, qwen3_moe,
hunyuan_v1_dense). Others run all their layers, or have ``layer_types``, which are not cut. Neither
it nor a draft model can crop the drafter's cache beyond a sliding window. None of this is assumed:
a baseline that cannot run says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedModel
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging

from adadecode.engine.baselines.baseline import TimedRun
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.runtime.environment import out_of_memory
from adadecode.engine.runtime.timer import synchronized_now


class FirstStep(BaseStreamer):  # type: ignore[misc]
    """Notes when the first step of ``generate`` gave its tokens, and how many.

    Attributes:
        at: Seconds of a monotonic clock.
        n_first: How many tokens the first step gave; 0 until then.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.n_first, self.at, self._prompt_seen = device, 0, 0.0, False

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt first, then the tokens of each step."""
        if self._prompt_seen and not self.n_first:
            self.at, self.n_first = synchronized_now(self.device), value.numel()
        self._prompt_seen = True

    def end(self) -> None:
        """Do nothing: there is nothing left to note."""


@dataclass(frozen=True, kw_only=True)
class GenerateBaseline:
    """Greedy ``generate`` of ``transformers``.

    Attributes:
        name: A unique name.
        model: The model.
        eos: Tokens that end a text.
        options: Further options of ``generate``.
        settings: The same options in plain JSON.
        needs: What it cannot do without, in words.
        lacks: Why it does not apply here; empty where it does.
    """

    name: str
    model: PreTrainedModel
    eos: frozenset[int]
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    needs: str = "nothing"
    lacks: str = ""

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, token ids ``(1, n)``."""
        return self.generated(ids, max_new_tokens, self.options)

    def generated(
        self, ids: torch.Tensor, max_new_tokens: int, options: dict[str, Any]
    ) -> TimedRun:
        """Call ``generate`` once with these options, and time it."""
        ids = ids.to(self.model.device)
        mask, first = torch.ones_like(ids), FirstStep(ids.device)
        with plain_generation(self.model, self.eos):
            begun = synchronized_now(ids.device)
            out = self.model.generate(
                ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max_new_tokens,
                streamer=first,
                **options,
            )
            ended = synchronized_now(ids.device)
        tokens = out[0, ids.shape[1] :].tolist()
        return TimedRun(
            tokens=tokens,
            n_first=first.n_first,
            prefill_s=first.at - begun,
            decode_s=ended - first.at,
        )

    def about(self) -> dict[str, Any]:
        """Return what the baseline needs, and its settings."""
        return {"needs": self.needs, **self.settings}


@contextmanager
def plain_generation(model: PreTrainedModel, eos: frozenset[int]) -> Iterator[None]:
    """Let the model's generation settings be those of plain greedy decoding, as ours is.

    Afterwards they are as before, and so is the model's number of layers, also where a drafter
    failed.
    """
    settings, config, verbosity = model.generation_config, _config(model), logging.get_verbosity()
    layers = getattr(config, "num_hidden_layers", None)
    model.generation_config = GenerationConfig(
        eos_token_id=sorted(eos) or None, pad_token_id=min(eos, default=0)
    )
    logging.set_verbosity_error()  # the drafters of transformers warn of transformers
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        model.generation_config = settings
        if layers is not None:
            config.num_hidden_layers = layers


def why_no_early_exit(decoder: AdaDecoder) -> str:
    """Return why ``assistant_early_exit`` cannot work on this model; empty where it may.

    It drafts with a smaller ``num_hidden_layers``. The forward pass must heed that, and so must the
    drafter's cache, or it cannot be cropped.
    """
    parts = decoder.parts
    ran: list[bool] = []
    config = _config(parts.model)
    hook = parts.layers[-1].register_forward_hook(lambda *_: ran.append(True))
    try:
        with plain_generation(parts.model, decoder.eos), torch.no_grad():
            config.num_hidden_layers = 1
            cached = len(DynamicCache(config=config).layers)
            parts.model(torch.zeros((1, 1), dtype=torch.long, device=parts.device), use_cache=False)
    except Exception as error:  # whatever else it is, this model cannot be cut short this way
        if out_of_memory(error):
            raise
        return f"{parts.name} cannot exit early: {type(error).__name__} with fewer layers ({error})"
    finally:
        hook.remove()
    if ran:
        return (
            f"{parts.name} cannot exit early: it runs all its layers whatever num_hidden_layers "
            "says"
        )
    if cached > 1:
        return (
            f"{parts.name} cannot exit early: transformers makes the drafter's cache by "
            "layer_types, which it does not cut"
        )
    return ""


def _config(model: PreTrainedModel) -> Any:
    """Return the config whose number of layers ``assistant_early_exit`` changes."""
    return getattr(model, model.base_model_prefix, model).config
