"""Our vanilla beside ``transformers`` generate, AdaDecode's best design beside our vanilla: demo model, one thread, FP32, batch 1.

The design is chosen by simulation on the recorded prompts of its domain, and timed on held-out prompts that were not recorded.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, load_demo
from adadecode.engine.loading.prompts import encode
from adadecode.profiles.store import read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Prediction, Predictor
from benchmarks.designs import best_design
from benchmarks.harness import PROFILE, in_turn, keep, ratio, spread

NEW_TOKENS = 128


def measure(
    domain: str,
    decoder: AdaDecoder,
    texts: list[tuple[torch.Tensor, int]],
    design: Design,
    repeats: int,
) -> dict[str, Any]:
    """Time the three in turn over all prompts, generate call by generate call, prefill included."""
    model = decoder.parts.model
    settings = {"do_sample": False, "pad_token_id": 0}
    jobs = {
        "transformers": [
            lambda x=x, n=n: model.generate(x, max_new_tokens=n, **settings) for x, n in texts
        ],
        "vanilla": [lambda x=x, n=n: decoder.generate(x, n, policy="vanilla") for x, n in texts],
        "adadecode": [
            lambda x=x, n=n: decoder.generate(x, n, gamma=design.gammas, placement=design.placement)
            for x, n in texts
        ],
    }
    own = [
        model.generate(x, max_new_tokens=n, **settings)[0, x.shape[1] :].tolist() for x, n in texts
    ]
    ours = [
        decoder.generate(x, n, gamma=design.gammas, placement=design.placement).tokens
        for x, n in texts
    ]
    tokens = sum(map(len, own))
    seconds = in_turn(jobs, repeats)
    return {
        "domain": domain,
        "design": design.label,
        "prompts": len(texts),
        "tokens": tokens,
        "repeats": repeats,
        "equal_texts": sum(a == b for a, b in zip(own, ours, strict=True)),
        "tokens_per_s": {name: tokens / sorted(s)[len(s) // 2] for name, s in seconds.items()},
        "vanilla_over_transformers": ratio(seconds["transformers"], seconds["vanilla"]),
        "adadecode_over_vanilla": ratio(seconds["vanilla"], seconds["adadecode"]),
        "adadecode_over_transformers": ratio(seconds["transformers"], seconds["adadecode"]),
    }


def whole_seconds(prediction: Prediction) -> float:
    """Of all prompts, prefill included, as they are timed here."""
    return prediction.decode_s + prediction.prompts * prediction.ttft_s


def main(arguments: list[str] | None = None) -> None:
    """Print and keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=10, help="held-out prompts of each domain")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    predictor = Predictor.of(read_profile(PROFILE))
    results = []
    for domain in ("arithmetic", "code"):
        recorded = predictor.prompts([domain])
        chosen = best_design(predictor, recorded)
        fresh = demo.of(domain)[len(recorded) :][: args.prompts]
        texts = [
            (encode(demo.tokenizer, prompt), prompt.max_new_tokens or NEW_TOKENS)
            for prompt in fresh
        ]
        vanilla = predictor.predict(Design.of("vanilla"), recorded)
        predicted = {"predicted_speedup": whole_seconds(vanilla) / whole_seconds(chosen)}
        results.append(
            {**measure(domain, decoder, texts, chosen.design, args.repeats), **predicted}
        )
    keep("speed", {"results": results})
    table = Table(
        "",
        *(r["domain"] for r in results),
        title="demo model, one thread: median (lowest .. highest)",
    )
    for name, key in (
        ("vanilla / generate", "vanilla_over_transformers"),
        ("adadecode / vanilla", "adadecode_over_vanilla"),
        ("adadecode / generate", "adadecode_over_transformers"),
    ):
        table.add_row(name, *(spread(r[key]) for r in results))
    table.add_row("  predicted, / vanilla", *(f"{r['predicted_speedup']:.2f}" for r in results))
    table.add_row("  design", *(r["design"] for r in results))
    table.add_row("  texts equal", *(f"{r['equal_texts']} of {r['prompts']}" for r in results))
    table.add_row(
        "generate, tokens/s", *(f"{r['tokens_per_s']['transformers']:.0f}" for r in results)
    )
    Console().print(table)


if __name__ == "__main__":
    main()
