"""Our vanilla beside ``transformers`` generate, AdaDecode's best design beside our vanilla: demo model, one thread, FP32, batch 1.

The design is chosen by simulation on the recorded prompts of its domain, and timed on held-out prompts that were not recorded.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.designs import best_design
from benchmarks.harness import PROFILE, in_turn, keep, ratio
from engine import AdaDecoder, load_demo
from engine.prompts import Prompt, encode
from profiles.store import read_profile
from sim.design import Design
from sim.predict import Predictor

NEW_TOKENS = 128


def measure(domain: str, decoder: AdaDecoder, ids: list[torch.Tensor], design: Design, repeats: int) -> dict[str, Any]:
    """Time the three in turn over all prompts, generate call by generate call, prefill included."""
    model = decoder.parts.model
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
    jobs = {
        "transformers": [lambda x=x: model.generate(x, **settings) for x in ids],
        "vanilla": [lambda x=x: decoder.generate(x, NEW_TOKENS, policy="vanilla") for x in ids],
        "adadecode": [lambda x=x: decoder.generate(x, NEW_TOKENS, gamma=design.gammas, placement=design.placement) for x in ids],
    }
    own = [model.generate(x, **settings)[0, x.shape[1] :].tolist() for x in ids]
    ours = [decoder.generate(x, NEW_TOKENS, gamma=design.gammas, placement=design.placement).tokens for x in ids]
    tokens = sum(map(len, own))
    seconds = in_turn(jobs, repeats)
    return {
        "domain": domain,
        "design": design.label,
        "prompts": len(ids),
        "tokens": tokens,
        "repeats": repeats,
        "equal_texts": sum(a == b for a, b in zip(own, ours, strict=True)),
        "tokens_per_s": {name: tokens / sorted(s)[len(s) // 2] for name, s in seconds.items()},
        "vanilla_over_transformers": ratio(seconds["transformers"], seconds["vanilla"]),
        "adadecode_over_vanilla": ratio(seconds["vanilla"], seconds["adadecode"]),
        "adadecode_over_transformers": ratio(seconds["transformers"], seconds["adadecode"]),
    }


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
        texts = demo.prompts[domain][len(recorded) :][: args.prompts]
        ids = [encode(demo.tokenizer, Prompt(text=text)) for text in texts]
        results.append({**measure(domain, decoder, ids, chosen.design, args.repeats), "predicted_speedup": chosen.speedup})
    keep("speed", {"results": results})
    table = Table(title="speed, demo model, one thread: median (lowest .. highest) of the repeats")
    for heading in ("domain", "design", "transformers tok/s", "vanilla / transformers", "adadecode / vanilla", "predicted"):
        table.add_column(heading)
    for r in results:
        spreads = [
            f"{r[k]['median']:.2f} ({r[k]['min']:.2f} .. {r[k]['max']:.2f})"
            for k in ("vanilla_over_transformers", "adadecode_over_vanilla")
        ]
        table.add_row(r["domain"], r["design"], f"{r['tokens_per_s']['transformers']:.0f}", *spreads, f"{r['predicted_speedup']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
