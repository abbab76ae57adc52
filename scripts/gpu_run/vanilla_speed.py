"""The stage ``graphs``: vanilla on the 8B shape captured, captured after compiling, and eager, in turn; what capturing takes, what it leaves of the bandwidth, what events cost."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from scripts.gpu_run.recordings import LLAMA, placements, quarters, tiny_file
from scripts.gpu_run.state import GpuRun, StageFailure, result

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adadecode.engine.decoding.decoder import AdaDecoder
    from adadecode.engine.heads.exit_heads import ExitHeads
    from adadecode.profiles.catalog.model_shape import ModelShape

EAGER = "eager"
MODES = (EAGER, "cuda", "cuda+compile")
DRY_MODES = (EAGER, "static")
PROMPT, TOKENS, REPEATS = 128, 64, 5
"""Eager is run once: what it takes is known to be much, and seconds are dear."""
LAPS = 50
"""Of the whole stack, plain and with events in its graph."""


def graphs(visit: GpuRun) -> dict[str, Any]:
    """By mode: seconds and bytes that making ready took, tokens/s of each repeat, how many tokens are those of the eager text, and what events in a graph cost.

    Every segment of the paper's placements is run at every size before anything is timed. Weights are random and in 16 bits, so texts may differ. ``best``
    is the mode in which vanilla was fastest: the one that later stages use. Raises StageFailure where a mode broke or fell back, which says why.
    """
    import torch

    from adadecode.engine.heads.random_heads import random_heads
    from adadecode.engine.loading.random_model import random_model, sized_shape
    from adadecode.engine.runtime.environment import torch_device

    place, tokens = torch_device(visit.device), 8 if visit.dry else TOKENS
    shape = sized_shape(tiny_file(visit, LLAMA) if visit.dry else LLAMA)
    heads = list(quarters((8, 16, 24), 32, shape.n_layers).values())
    model = random_model(shape, "float32" if visit.dry else "bfloat16", place)
    exits = random_heads(model, heads)
    prompt = torch.randint(
        shape.vocab_size, (1, PROMPT), generator=torch.Generator().manual_seed(0)
    )
    decoders: dict[str, AdaDecoder] = {}
    told: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for mode in DRY_MODES if visit.dry else MODES:
        with _noting(mode, wrong):
            decoders[mode], told[mode] = _made_ready(model, exits, mode, prompt, tokens)
    _time_in_turn(decoders, told, prompt, tokens, 1 if visit.dry else REPEATS, wrong)
    told = {mode: one for mode, one in told.items() if one["seconds"]}
    if not told:
        raise StageFailure("; ".join(wrong), {"best": EAGER, "modes": told})
    for mode, decoder in decoders.items():
        if mode in told and mode != EAGER:
            with _noting(f"{mode}, with events", wrong):
                told[mode]["events"] = event_cost(decoder, PROMPT, 2 if visit.dry else LAPS)
        if mode in told:
            told[mode]["fallbacks"] = list(decoder.parts.fallbacks)
        wrong += [f"{mode}: {why}" for why in decoder.parts.fallbacks]
    own = told[EAGER]["text"] if EAGER in told else None
    for one in told.values():
        text = one.pop("text")
        one["as_eager"] = (
            None
            if own is None
            else next((k for k, (a, b) in enumerate(zip(text, own, strict=True)) if a != b), tokens)
        )
        one["tokens_per_s"] = 1 / median(one["seconds"])
    read = read_rate(visit)
    bytes_read = bytes_a_token(
        shape, shape.total_parameters, next(model.parameters()).element_size()
    )
    for one in told.values() if read else ():
        one["share_of_ceiling"] = one["tokens_per_s"] * bytes_read / read
    best = max(told, key=lambda mode: float(told[mode]["tokens_per_s"]))
    found = {
        "shape": shape.name,
        "tokens": tokens,
        "context": PROMPT,
        "read_bytes_per_token": bytes_read,
        "read_bytes_per_s": read,
        "best": best,
        "modes": told,
    }
    if wrong:
        raise StageFailure(
            f"{'; '.join(wrong)}; what is recorded from here on runs with {best}, the fastest",
            found,
        )
    return found


@contextmanager
def _noting(mode: str, wrong: list[str]) -> Iterator[None]:
    """Within: what breaks is told, and the rest goes on."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        wrong.append(f"{mode}: {type(error).__name__}: {error}")


def _made_ready(
    model: PreTrainedModel, exits: ExitHeads, mode: str, prompt: torch.Tensor, tokens: int
) -> tuple[AdaDecoder, dict[str, Any]]:
    """A decoder of this mode that has run every segment of the paper's placements at every size, and what that took."""
    import torch

    from adadecode.engine.decoding.decoder import AdaDecoder
    from adadecode.sim.core.design import Design

    begun, held = time.monotonic(), _reserved()
    decoder = AdaDecoder(model, exits, graphs=mode)
    chosen = [[int(depth) for depth in words.split(",")] for words in placements(exits.depths)]
    designs = [Design.of("adadecode", gamma=0.75, placement=depths) for depths in chosen]
    with torch.inference_mode():
        decoder.parts.allocate(PROMPT + tokens)
        decoder.prepare([Design.of("vanilla"), *designs], PROMPT + tokens)
    text = decoder.generate(prompt, tokens, policy="vanilla", eos_token_id=()).tokens
    took = {
        "ready_s": time.monotonic() - begun,
        "graphs_bytes": decoder.parts.graphs_bytes,
        "reserved_bytes": _reserved() - held,
    }
    return decoder, {**took, "text": text, "seconds": [], "prefill_s": []}


def _time_in_turn(
    decoders: Mapping[str, AdaDecoder],
    told: Mapping[str, dict[str, Any]],
    prompt: torch.Tensor,
    tokens: int,
    repeats: int,
    wrong: list[str],
) -> None:
    """Add the seconds of these repeats to what is told of each mode, as long as it does not break; of eager, those of the first alone."""
    broken: set[str] = set()
    for repeat in range(repeats):
        for mode, decoder in decoders.items():
            if mode in broken or (mode == EAGER and repeat):
                continue
            broken.add(mode)
            with _noting(mode, wrong):
                prefill_s, token_s = _timed(decoder, prompt, tokens)
                told[mode]["prefill_s"].append(prefill_s)
                told[mode]["seconds"].append(token_s)
                broken.remove(mode)


def _timed(decoder: AdaDecoder, prompt: torch.Tensor, tokens: int) -> tuple[float, float]:
    """Seconds of vanilla's prefill, and of each token after it."""
    from adadecode.engine.runtime.timer import synchronized_now
    from adadecode.sim.core.design import Design

    places = decoder.parts.devices
    begun = synchronized_now(*places)
    decoding = decoder.start(prompt, Design.of("vanilla"), max_new_tokens=tokens, eos_token_id=())
    prefilled = synchronized_now(*places)
    with decoder.parts.session():
        for _ in decoding.steps():
            pass
    return prefilled - begun, (synchronized_now(*places) - prefilled) / (tokens - 1)


def event_cost(decoder: AdaDecoder, at: int, laps: int) -> dict[str, Any]:
    """Seconds of one token through the whole stack, by its plain graph and by the one with events in it, in turn; their ratios. There must be room at ``at``."""
    import torch

    from adadecode.engine.runtime.timer import Clock

    parts = decoder.parts
    seconds: dict[str, list[float]] = {
        "plain_s": [],
        "timed_s": [],
    }  # once more than laps: graphs are captured in the first
    with parts.session():
        hidden = parts.embed(torch.zeros((1, 1), dtype=torch.long, device=parts.device), at)
        for _ in range(laps + 1):
            for name in seconds:
                inside, around = Clock(*parts.devices), Clock(*parts.devices)
                around.mark()
                parts.run(0, parts.n_layers, hidden, at, inside if name == "timed_s" else None)
                around.mark()
                inside.intervals()  # read, so that the next replay need not
                seconds[name] += around.intervals()
    seconds = {name: found[1:] for name, found in seconds.items()}
    ratios = sorted(
        timed / plain for plain, timed in zip(seconds["plain_s"], seconds["timed_s"], strict=True)
    )
    quartiles = [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]]
    return {"timing": parts.timing, **seconds, "ratio": median(ratios), "quartiles": quartiles}


def bytes_a_token(shape: ModelShape, parameters: int, itemsize: int) -> int:
    """Of weights that a token reads: all but an embedding table of its own, of which it reads one row."""
    return (
        parameters - (0 if shape.tied_embeddings else shape.vocab_size * shape.hidden_size)
    ) * itemsize


def read_rate(visit: GpuRun) -> float | None:
    """Bytes a second that the stage ``device`` read; None where it did not run."""
    rates = (result(visit.work, "device").get("result") or {}).get("rates", [])
    return next((float(rate["median"]) for rate in rates if rate["name"] == "read"), None)


def _reserved() -> int:
    import torch

    return int(torch.cuda.memory_reserved()) if torch.cuda.is_available() else 0
