"""The stage ``graphs``: vanilla on the 8B shape eager, captured, and captured after compiling, in turn; what capturing takes, and what it leaves of the bandwidth."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

from scripts.visit.recordings import LLAMA, placements, quarters, tiny_file
from scripts.visit.told import Visit, result

if TYPE_CHECKING:
    from profiles.shape import ModelShape

MODES = ("eager", "cuda", "cuda+compile")
DRY_MODES = ("eager", "static")
PROMPT, TOKENS, REPEATS = 128, 64, 3


def graphs(visit: Visit) -> dict[str, Any]:
    """By mode: seconds and bytes that making ready took, tokens/s of each repeat, and how many tokens are those of the eager text.

    Every segment of the paper's placements is run at every size before anything is timed. Weights are random and in 16 bits, so texts may differ.
    """
    import torch

    from engine.decode import AdaDecoder
    from engine.machine import torch_device
    from engine.shapes import random_heads, random_model, sized_shape
    from engine.timing import synchronized_now
    from sim.design import Design

    place, tokens = torch_device(visit.device), 8 if visit.dry else TOKENS
    shape = sized_shape(tiny_file(visit, LLAMA) if visit.dry else LLAMA)
    heads = list(quarters((8, 16, 24), 32, shape.n_layers).values())
    model = random_model(shape, "float32" if visit.dry else "bfloat16", place)
    exits = random_heads(model, heads)
    designs = [Design.of("adadecode", gamma=0.75, placement=[int(d) for d in words.split(",")]) for words in placements(heads)]
    prompt = torch.randint(shape.vocab_size, (1, PROMPT), generator=torch.Generator().manual_seed(0))
    decoders: dict[str, AdaDecoder] = {}
    told: dict[str, dict[str, Any]] = {}
    for mode in DRY_MODES if visit.dry else MODES:
        begun, held = time.monotonic(), _reserved()
        decoders[mode] = decoder = AdaDecoder(model, exits, graphs=mode)
        with torch.inference_mode():
            decoder.parts.allocate(PROMPT + tokens)
            decoder.prepare([Design.of("vanilla"), *designs], PROMPT + tokens)
        text = decoder.generate(prompt, tokens, policy="vanilla", eos_token_id=()).tokens
        ready = {"ready_s": time.monotonic() - begun, "graphs_bytes": decoder.parts.graphs_bytes, "reserved_bytes": _reserved() - held}
        told[mode] = {**ready, "fallbacks": list(decoder.parts.fallbacks), "text": text, "seconds": [], "prefill_s": []}
    for _ in range(1 if visit.dry else REPEATS):
        for mode, decoder in decoders.items():
            begun = synchronized_now(place)
            decoding = decoder.start(prompt, Design.of("vanilla"), max_new_tokens=tokens, eos_token_id=())
            prefilled = synchronized_now(place)
            with decoder.parts.session():
                for _step in decoding.steps():
                    pass
            told[mode]["seconds"].append((synchronized_now(place) - prefilled) / (tokens - 1))
            told[mode]["prefill_s"].append(prefilled - begun)
    own = told["eager"]["text"]
    for one in told.values():
        one["as_eager"] = next((k for k, (a, b) in enumerate(zip(one.pop("text"), own, strict=True)) if a != b), tokens)
        one["tokens_per_s"] = 1 / median(one["seconds"])
    read = read_rate(visit)
    bytes_read = bytes_a_token(shape, shape.total_parameters, next(model.parameters()).element_size())
    for one in told.values() if read else ():
        one["share_of_ceiling"] = one["tokens_per_s"] * bytes_read / read
    return {
        "shape": shape.name,
        "tokens": tokens,
        "context": PROMPT,
        "read_bytes_per_token": bytes_read,
        "read_bytes_per_s": read,
        "modes": told,
    }


def bytes_a_token(shape: ModelShape, parameters: int, itemsize: int) -> int:
    """Of weights that a token reads: all but an embedding table of its own, of which it reads one row."""
    return (parameters - (0 if shape.tied_embeddings else shape.vocab_size * shape.hidden_size)) * itemsize


def read_rate(visit: Visit) -> float | None:
    """Bytes a second that the stage ``device`` read; None where it did not run."""
    rates = (result(visit.work, "device").get("result") or {}).get("rates", [])
    return next((float(rate["median"]) for rate in rates if rate["name"] == "read"), None)


def _reserved() -> int:
    import torch

    return int(torch.cuda.memory_reserved()) if torch.cuda.is_available() else 0
