"""The stage ``graphs``: vanilla of the 8B shape captured, captured after compiling, and eager.

The modes are timed in turn. The stage also measures how long capturing takes, the share of the
bandwidth that each mode reaches, and what events in a graph cost.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from scripts.gpu_run.bandwidth import bytes_per_token, read_bandwidth
from scripts.gpu_run.recordings import LLAMA, heads_at_quarters, placements, tiny_shape_file
from scripts.gpu_run.state import GpuRun, StageFailure

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adadecode.engine.decoding.decoder import AdaDecoder
    from adadecode.engine.heads.exit_heads import ExitHeads

EAGER = "eager"
MODES = (EAGER, "cuda", "cuda+compile")
DRY_MODES = (EAGER, "static")
PROMPT, TOKENS, REPEATS = 128, 64, 5
"""Prompt tokens, new tokens, and timed repeats. Eager is run once: it is known to be slow."""
LAPS = 50
"""Runs of the whole stack, without and with events in its graph."""


def graphs(run: GpuRun) -> dict[str, Any]:
    """Time vanilla in every mode.

    Every segment of the paper's placements is run at every size before anything is timed. Weights
    are random and in 16 bits, so texts may differ between modes.

    Returns:
        The shape, the bandwidth, ``best`` (the fastest mode, which later stages use), and by mode:
        seconds and bytes of getting ready, seconds per token of each repeat, how many tokens are
        those of the eager text, and what events in a graph cost.

    Raises:
        StageFailure: If a mode broke or fell back to a slower one; the message says why.
    """
    import torch

    from adadecode.engine.heads.random_heads import random_heads
    from adadecode.engine.loading.random_model import random_model, sized_shape
    from adadecode.engine.runtime.environment import torch_device

    tokens = 8 if run.dry else TOKENS
    shape = sized_shape(tiny_shape_file(run, LLAMA) if run.dry else LLAMA)
    depths = list(heads_at_quarters((8, 16, 24), 32, shape.n_layers).values())
    dtype = "float32" if run.dry else "bfloat16"
    model = random_model(shape, dtype, torch_device(run.device))
    heads = random_heads(model, depths)
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(shape.vocab_size, (1, PROMPT), generator=generator)

    decoders: dict[str, AdaDecoder] = {}
    modes: dict[str, dict[str, Any]] = {}
    errors: list[str] = []
    for mode in DRY_MODES if run.dry else MODES:
        with _collect_error(mode, errors):
            decoders[mode], modes[mode] = _prepare(model, heads, mode, prompt, tokens)
    _time_in_turn(decoders, modes, prompt, tokens, 1 if run.dry else REPEATS, errors)
    modes = {mode: measured for mode, measured in modes.items() if measured["seconds"]}
    if not modes:
        raise StageFailure("; ".join(errors), {"best": EAGER, "modes": modes})
    _measure_events(decoders, modes, 2 if run.dry else LAPS, errors)

    itemsize = next(model.parameters()).element_size()
    read_bytes = bytes_per_token(shape, shape.total_parameters, itemsize)
    bandwidth = read_bandwidth(run)
    _derive(modes, read_bytes, bandwidth)
    best = max(modes, key=lambda mode: float(modes[mode]["tokens_per_s"]))
    found = {
        "shape": shape.name,
        "tokens": tokens,
        "context": PROMPT,
        "read_bytes_per_token": read_bytes,
        "read_bytes_per_s": bandwidth,
        "best": best,
        "modes": modes,
    }
    if errors:
        raise StageFailure(
            f"{'; '.join(errors)}; what is recorded from here on runs with {best}, the fastest",
            found,
        )
    return found


@contextmanager
def _collect_error(mode: str, errors: list[str]) -> Iterator[None]:
    """Add what is raised inside to ``errors``, with its mode, and go on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the other modes are measured all the same
        traceback.print_exc()
        errors.append(f"{mode}: {type(error).__name__}: {error}")


def _prepare(
    model: PreTrainedModel, heads: ExitHeads, mode: str, prompt: torch.Tensor, tokens: int
) -> tuple[AdaDecoder, dict[str, Any]]:
    """Return a decoder of this mode, ready to be timed, and the time and memory that took.

    It has run every segment of the paper's placements at every size.
    """
    import torch

    from adadecode.engine.decoding.decoder import AdaDecoder
    from adadecode.sim.core.design import Design

    began, held_bytes = time.monotonic(), _reserved_bytes()
    decoder = AdaDecoder(model, heads, graphs=mode)
    designs = [Design.of("vanilla")]
    for depths in placements(heads.depths):
        placement = [int(depth) for depth in depths.split(",")]
        designs.append(Design.of("adadecode", gamma=0.75, placement=placement))
    with torch.inference_mode():
        decoder.parts.allocate(PROMPT + tokens)
        decoder.prepare(designs, PROMPT + tokens)
    text = decoder.generate(prompt, tokens, policy="vanilla", eos_token_id=()).tokens
    measured: dict[str, Any] = {
        "ready_s": time.monotonic() - began,
        "graphs_bytes": decoder.parts.graphs_bytes,
        "reserved_bytes": _reserved_bytes() - held_bytes,
        "text": text,
        "seconds": [],
        "prefill_s": [],
    }
    return decoder, measured


def _time_in_turn(
    decoders: Mapping[str, AdaDecoder],
    modes: Mapping[str, dict[str, Any]],
    prompt: torch.Tensor,
    tokens: int,
    repeats: int,
    errors: list[str],
) -> None:
    """Time the modes in turn, and add their seconds to what was measured of each.

    A mode that broke is not timed again, and eager is timed in the first repeat only.
    """
    broken: set[str] = set()
    for repeat in range(repeats):
        for mode, decoder in decoders.items():
            if mode in broken or (mode == EAGER and repeat):
                continue
            broken.add(mode)
            with _collect_error(mode, errors):
                prefill_s, token_s = _time_text(decoder, prompt, tokens)
                modes[mode]["prefill_s"].append(prefill_s)
                modes[mode]["seconds"].append(token_s)
                broken.remove(mode)


def _time_text(decoder: AdaDecoder, prompt: torch.Tensor, tokens: int) -> tuple[float, float]:
    """Return the seconds of vanilla's prefill, and of each token after it."""
    from adadecode.engine.runtime.timer import synchronized_now
    from adadecode.sim.core.design import Design

    devices = decoder.parts.devices
    began = synchronized_now(*devices)
    decoding = decoder.start(prompt, Design.of("vanilla"), max_new_tokens=tokens, eos_token_id=())
    prefilled = synchronized_now(*devices)
    with decoder.parts.session():
        for _ in decoding.steps():
            pass
    return prefilled - began, (synchronized_now(*devices) - prefilled) / (tokens - 1)


def _measure_events(
    decoders: Mapping[str, AdaDecoder],
    modes: Mapping[str, dict[str, Any]],
    laps: int,
    errors: list[str],
) -> None:
    """Add what events in a graph cost, and what fell back, to what was measured of each mode."""
    for mode, decoder in decoders.items():
        if mode in modes and mode != EAGER:
            with _collect_error(f"{mode}, with events", errors):
                modes[mode]["events"] = event_cost(decoder, PROMPT, laps)
        if mode in modes:
            modes[mode]["fallbacks"] = list(decoder.parts.fallbacks)
        errors += [f"{mode}: {fallback}" for fallback in decoder.parts.fallbacks]


def event_cost(decoder: AdaDecoder, position: int, laps: int) -> dict[str, Any]:
    """Time one token through the whole stack by its plain graph and by the one with events.

    Args:
        decoder: With room for a token at ``position``.
        position: Of the token.
        laps: How often each is timed, in turn.

    Returns:
        The seconds of each lap, ``plain_s`` and ``timed_s``; the median and quartiles of their
        ratios; and how the decoder times work, ``timing``.
    """
    import torch

    from adadecode.engine.runtime.timer import Clock

    parts = decoder.parts
    seconds: dict[str, list[float]] = {"plain_s": [], "timed_s": []}
    with parts.session():
        token = torch.zeros((1, 1), dtype=torch.long, device=parts.device)
        hidden = parts.embed(token, position)
        for _ in range(laps + 1):  # graphs are captured in the first
            for name in seconds:
                inner, outer = Clock(*parts.devices), Clock(*parts.devices)
                outer.mark()
                parts.run(0, parts.n_layers, hidden, position, inner if name == "timed_s" else None)
                outer.mark()
                inner.intervals()  # read, so that the next replay need not
                seconds[name] += outer.intervals()
    seconds = {name: laps_s[1:] for name, laps_s in seconds.items()}
    ratios = sorted(
        timed / plain for plain, timed in zip(seconds["plain_s"], seconds["timed_s"], strict=True)
    )
    quartiles = [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]]
    return {"timing": parts.timing, **seconds, "ratio": median(ratios), "quartiles": quartiles}


def _derive(modes: Mapping[str, dict[str, Any]], read_bytes: int, bandwidth: float | None) -> None:
    """Replace each mode's text by how much of it is the eager one, and add its speed.

    Args:
        modes: What was measured of each mode.
        read_bytes: Bytes of weights that a token reads.
        bandwidth: Bytes per second that the device reads, where it is known.
    """
    eager_text = modes[EAGER]["text"] if EAGER in modes else None
    for measured in modes.values():
        text = measured.pop("text")
        measured["as_eager"] = None if eager_text is None else _common_prefix(text, eager_text)
        measured["tokens_per_s"] = 1 / median(measured["seconds"])
        if bandwidth:
            measured["share_of_ceiling"] = measured["tokens_per_s"] * read_bytes / bandwidth


def _common_prefix(text: list[int], other: list[int]) -> int:
    """Return how many tokens two texts of one length share before they first differ."""
    pairs = enumerate(zip(text, other, strict=True))
    return next((index for index, (one, two) in pairs if one != two), len(text))


def _reserved_bytes() -> int:
    import torch

    return int(torch.cuda.memory_reserved()) if torch.cuda.is_available() else 0
