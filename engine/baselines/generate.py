"""Other ways to decode the same model, to hold AdaDecode against: ``transformers`` generate in its variants, and our own designs, all run alike.

Every baseline decodes greedily from the same weights in the same dtype, and its time is told apart in two: until the first step has given its
tokens (the prefill), and from then on. Our runs give one token in the first step; speculative variants of generate draft before they have
seen the prompt and may give several at once, so seconds per token are ``decode_s / (n_tokens - n_first)`` for all: the same rule, one token for us.

What works depends on the architecture. In transformers 5.17 ``assistant_early_exit`` works on 9 of the 28 that the engine is tested on (llama, gemma, olmo2,
phi, granite, cohere, glm4, qwen3_moe, hunyuan_v1_dense): others run all their layers, or have ``layer_types``, which are not cut; and neither it nor a draft
model can crop the drafter's cache beyond a sliding window. None of it is assumed: a baseline that cannot run says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from transformers import CompileConfig, DynamicCache, GenerationConfig, PreTrainedModel, StaticCache
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.runtime.environment import out_of_memory
from adadecode.engine.runtime.timer import synchronized_now
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design

COMPILES = 4
"""A run in which something was compiled is made again, so often at most."""

WARM = 2
"""Runs that are not counted, after the last one in which something was compiled: in these torch warms up and records its CUDA graphs."""


@dataclass(frozen=True, kw_only=True)
class TimedRun:
    """One run.

    tokens: the new ones, EOS included. n_first: how many of them the first step gave. prefill_s: seconds until these were there. decode_s: from then
    on. compile_s: spent compiling in runs that had to be made again, in neither of the two. uncounted: how many runs were made before this one.
    """

    tokens: list[int]
    n_first: int
    prefill_s: float
    decode_s: float
    compile_s: float = 0.0
    uncounted: int = 0


class Baseline(Protocol):
    """A way to decode."""

    @property
    def name(self) -> str:
        """Unique."""
        ...

    @property
    def needs(self) -> str:
        """What it cannot do without, in words."""
        ...

    @property
    def lacks(self) -> str:
        """Why it does not apply here; empty where it does."""
        ...

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, ids (1, n). Raises whatever the model raises."""
        ...

    def about(self) -> dict[str, Any]:
        """Its settings, for the manifest: plain JSON."""
        ...


def attempt(baseline: Baseline, ids: torch.Tensor, max_new_tokens: int) -> TimedRun | str:
    """A run, or why there is none, in a sentence. Raises what our own designs raise, and what says that memory ran out or that the device broke: a machine's state is no result."""
    if baseline.lacks:
        return baseline.lacks
    if isinstance(baseline, DesignBaseline):
        return baseline.run(ids, max_new_tokens)
    try:
        return baseline.run(ids, max_new_tokens)
    except Exception as error:  # whatever else a variant of generate stumbles over is its result, not the end of the recording
        if out_of_memory(error) or isinstance(error, torch.AcceleratorError):
            raise
        said = " ".join(str(error).split())
        return f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__


def n_same(tokens: Sequence[int], reference: Sequence[int]) -> int:
    """How many tokens, from the first, are the reference's."""
    return next(
        (i for i, (a, b) in enumerate(zip(tokens, reference, strict=False)) if a != b),
        min(len(tokens), len(reference)),
    )


class FirstStep(BaseStreamer):  # type: ignore[misc]
    """Notes when the first step of ``generate`` gave its tokens (``at``, seconds of a monotonic clock), and how many (``n_first``)."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.n_first, self.at, self._prompt_seen = device, 0, 0.0, False

    def put(self, value: torch.Tensor) -> None:
        """The prompt first, then the tokens of each step."""
        if self._prompt_seen and not self.n_first:
            self.at, self.n_first = synchronized_now(self.device), value.numel()
        self._prompt_seen = True

    def end(self) -> None:
        """Nothing is left to note."""


@dataclass(frozen=True, kw_only=True)
class GenerateBaseline:
    """`transformers` generate, greedy. options: what it is called with beside. settings: the same in plain JSON. eos: tokens that end a text."""

    name: str
    model: PreTrainedModel
    eos: frozenset[int]
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    needs: str = "nothing"
    lacks: str = ""

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, ids (1, n)."""
        return self.generated(ids, max_new_tokens, self.options)

    def generated(self, ids: torch.Tensor, max_new_tokens: int, options: dict[str, Any]) -> TimedRun:
        """One call of generate with these options."""
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
        """Its settings."""
        return {"needs": self.needs, **self.settings}


@dataclass(frozen=True, kw_only=True)
class StaticCacheBaseline(GenerateBaseline):
    """The same over one static cache of ``longest`` positions, the forward pass of one token compiled. Compilation is told apart from the run.

    transformers would make another cache in every call, and torch record its CUDA graphs anew for other addresses, in time that is measured.
    """

    longest: int

    @cached_property
    def cache(self) -> StaticCache:
        """Made once, emptied before each run."""
        return StaticCache(config=self.model.config, max_cache_len=self.longest)

    @cached_property
    def _quiet(self) -> list[TimedRun]:
        """Runs since something was last compiled."""
        return []

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence; made again where something was compiled on the way, and then `WARM` times more.

        Raises InputError where the text does not fit the cache, RuntimeError where nothing was compiled, or always something.
        """
        if ids.shape[1] + max_new_tokens > self.longest:
            raise InputError(
                f"a static cache of {self.longest} positions holds no {ids.shape[1]} and {max_new_tokens} new ones: make it longer"
            )
        spent, compiles, uncounted = 0.0, 0, 0
        while compiles < COMPILES:
            before = compiling_seconds()
            self.cache.reset()
            done = self.generated(
                ids, max_new_tokens, {**self.options, "past_key_values": self.cache}
            )
            if not hasattr(self.model, "_compiled_call"):
                raise RuntimeError(
                    "transformers ran this model over a static cache without compiling it"
                )
            now = compiling_seconds() - before
            if now:
                spent, compiles = spent + now, compiles + 1
                self._quiet.clear()
            elif len(self._quiet) == WARM:
                return replace(done, compile_s=spent, uncounted=uncounted)
            else:
                self._quiet.append(done)
            uncounted += 1
        raise RuntimeError(f"torch.compile compiled anew in each of {COMPILES} runs")


@dataclass(frozen=True, kw_only=True)
class DesignBaseline:
    """One of our own designs, run as a baseline is."""

    decoder: AdaDecoder
    design: Design
    needs: str = "exit heads"
    lacks: str = ""

    @property
    def name(self) -> str:
        """The design's label."""
        return self.design.label

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, ids (1, n)."""
        devices, session = self.decoder.parts.devices, self.decoder.parts.session
        begun = synchronized_now(*devices)
        decoding = self.decoder.start(ids, self.design, max_new_tokens=max_new_tokens)
        prefilled = synchronized_now(*devices)
        with session():
            for _ in decoding.steps():
                pass
        ended = synchronized_now(*devices)
        return TimedRun(
            tokens=list(decoding.schedule.tokens),
            n_first=1,
            prefill_s=prefilled - begun,
            decode_s=ended - prefilled,
        )

    def about(self) -> dict[str, Any]:
        """Its design."""
        return {"needs": self.needs, "design": self.name}


@contextmanager
def plain_generation(model: PreTrainedModel, eos: frozenset[int]) -> Iterator[None]:
    """Within: the model's generation settings are those of plain greedy decoding, as ours is. Its number of layers outlives a drafter that failed."""
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


def compiling_seconds() -> float:
    """Seconds that this process has spent in torch.compile."""
    from torch._dynamo.utils import calculate_time_spent  # takes seconds to import

    return float(calculate_time_spent().get("total_wall_time", 0.0))


def why_no_early_exit(decoder: AdaDecoder) -> str:
    """Why ``assistant_early_exit`` cannot work on this model; empty where nothing speaks against it.

    It drafts with a smaller ``num_hidden_layers``. The forward pass must heed that, and so must the drafter's cache, or it cannot be cropped.
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
        return f"{parts.name} cannot exit early: it runs all its layers whatever num_hidden_layers says"
    if cached > 1:
        return f"{parts.name} cannot exit early: transformers makes the drafter's cache by layer_types, which it does not cut"
    return ""


def _config(model: PreTrainedModel) -> Any:
    """The config whose number of layers ``assistant_early_exit`` changes."""
    return getattr(model, model.base_model_prefix, model).config


def static_cache_baseline(decoder: AdaDecoder, longest: int, backend: str = "inductor") -> StaticCacheBaseline:
    """Generate over a static cache of ``longest`` positions, compiled with ``backend`` of torch.compile; on a CPU too."""
    how = CompileConfig(backend=backend)
    how._compile_all_devices = decoder.parts.device.type == "cpu"
    settings = {
        "cache": "one StaticCache, emptied before each run",
        "max_cache_len": longest,
        "backend": how.backend,
        "mode": how.mode,
    }
    return StaticCacheBaseline(
        name="static",
        model=decoder.parts.model,
        eos=decoder.eos,
        options={"compile_config": how},
        settings={**settings, "uncounted": f"runs that compile, and {WARM} after each"},
        needs="a model that torch.compile can compile, and a C++ compiler on a CPU",
        longest=longest,
    )
