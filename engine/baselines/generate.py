"""``generate`` of ``transformers`` in its variants, as baselines.

What works depends on the architecture. In transformers 5.17 ``assistant_early_exit`` works on
some, such as llama, gemma, olmo2, phi, granite, cohere, glm4, qwen3_moe and hunyuan_v1_dense.
Others run all their layers, or have ``layer_types``, which are not cut. Neither
it nor a draft model can crop the drafter's cache beyond a sliding window. None of this is assumed:
a baseline that cannot run says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, GenerationConfig, PreTrainedModel
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging

from adadecode.engine.baselines.baseline import TimedRun
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model.shadow import exchanged, shadow
from adadecode.engine.runtime.environment import out_of_memory
from adadecode.engine.runtime.shared_setting import SharedSetting
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

    @cached_property
    def plain(self) -> PreTrainedModel:
        """The model with settings of its own (see `plain_model`)."""
        return plain_model(self.model, self.eos)

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, token ids ``(1, n)``."""
        return self.generated(ids, max_new_tokens, self.options)

    def generated(
        self, ids: torch.Tensor, max_new_tokens: int, options: dict[str, Any]
    ) -> TimedRun:
        """Call ``generate`` once with these options, and time it."""
        ids = ids.to(self.model.device)
        mask, first = torch.ones_like(ids), FirstStep(ids.device)
        model = self.plain
        with quiet.needed():
            begun = synchronized_now(ids.device)
            out = model.generate(
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


def plain_model(model: PreTrainedModel, eos: frozenset[int]) -> PreTrainedModel:
    """Return a model that generates greedily as ours does, whatever the model's settings are.

    Its weights are the model's. Its settings and its configs, in which ``assistant_early_exit``
    changes the number of layers, are its own: other threads may use the model meanwhile.

    Args:
        model: The model.
        eos: Tokens that end a text.
    """
    body = _body(model)
    made: PreTrainedModel = exchanged(model, {body: shadow(body)})
    copied: dict[int, Any] = {}  # one copy of each config, however many modules go by it
    for module in dict.fromkeys((made, _body(made))):
        module.config = deepcopy(module.config, copied)
    made.generation_config = GenerationConfig(
        eos_token_id=sorted(eos) or None, pad_token_id=min(eos, default=0)
    )
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the drafters of transformers from warning of transformers."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


quiet = SharedSetting(_quiet)


def why_no_early_exit(decoder: AdaDecoder) -> str:
    """Return why ``assistant_early_exit`` cannot work on this model; empty where it may.

    It drafts with a smaller ``num_hidden_layers``. The forward pass must heed that, and so must the
    drafter's cache, or it cannot be cropped.
    """
    parts = decoder.parts
    ran: list[bool] = []
    last = shadow(parts.layers[-1])
    last.register_forward_hook(lambda *_: ran.append(True))
    layers = nn.ModuleList([*list(parts.layers)[:-1], last])
    model = exchanged(plain_model(parts.model, decoder.eos), {parts.layers: layers})
    config = _body(model).config
    try:
        with quiet.needed(), torch.no_grad():
            config.num_hidden_layers = 1
            cached = len(DynamicCache(config=config).layers)
            model(torch.zeros((1, 1), dtype=torch.long, device=parts.device), use_cache=False)
    except Exception as error:  # whatever else it is, this model cannot be cut short this way
        if out_of_memory(error):
            raise
        return f"{parts.name} cannot exit early: {type(error).__name__} with fewer layers ({error})"
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


def _body(model: nn.Module) -> Any:
    """Return the part of a model whose config ``assistant_early_exit`` changes."""
    return getattr(model, str(model.base_model_prefix), model)
