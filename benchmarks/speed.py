"""Compare our vanilla with ``transformers`` generate, and AdaDecode's best design with our vanilla.

The demo model on one thread, in FP32 at batch 1. The design is chosen by simulation on the recorded
prompts of its domain, and timed on held-out prompts that were not recorded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
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
from benchmarks.harness import PROFILE, describe_ratio, in_turn, ratio, write_result

NEW_TOKENS = 128
DOMAINS = ("arithmetic", "code")


def measure(
    domain: str,
    decoder: AdaDecoder,
    texts: list[tuple[torch.Tensor, int]],
    design: Design,
    repeats: int,
) -> dict[str, Any]:
    """Time generate, vanilla and the design in turn over all prompts, prefill included.

    Args:
        domain: Of the prompts.
        decoder: Of the demo model.
        texts: Token ids of each prompt, shape (1, n), and how many new tokens to decode.
        design: Of AdaDecode.
        repeats: Of the timed runs.
    """
    model = decoder.parts.model

    def generate(ids: torch.Tensor, n: int) -> list[int]:
        text = model.generate(ids, max_new_tokens=n, do_sample=False, pad_token_id=0)
        tokens: list[int] = text[0, ids.shape[1] :].tolist()
        return tokens

    def vanilla(ids: torch.Tensor, n: int) -> list[int]:
        return decoder.generate(ids, n, policy="vanilla").tokens

    def adadecode(ids: torch.Tensor, n: int) -> list[int]:
        return decoder.generate(ids, n, gamma=design.gammas, placement=design.placement).tokens

    ways = {"transformers": generate, "vanilla": vanilla, "adadecode": adadecode}
    jobs: dict[str, list[Callable[[], Any]]] = {
        name: [lambda d=decode, x=ids, n=n: d(x, n) for ids, n in texts]
        for name, decode in ways.items()
    }
    generated = [generate(ids, n) for ids, n in texts]
    decoded = [adadecode(ids, n) for ids, n in texts]
    tokens = sum(map(len, generated))
    seconds = in_turn(jobs, repeats)
    return {
        "domain": domain,
        "design": design.label,
        "prompts": len(texts),
        "tokens": tokens,
        "repeats": repeats,
        "equal_texts": sum(a == b for a, b in zip(generated, decoded, strict=True)),
        "tokens_per_s": {name: tokens / sorted(s)[len(s) // 2] for name, s in seconds.items()},
        "vanilla_over_transformers": ratio(seconds["transformers"], seconds["vanilla"]),
        "adadecode_over_vanilla": ratio(seconds["vanilla"], seconds["adadecode"]),
        "adadecode_over_transformers": ratio(seconds["transformers"], seconds["adadecode"]),
    }


def total_seconds(prediction: Prediction) -> float:
    """Return the seconds of all prompts, prefill included, as this benchmark times them."""
    return prediction.decode_s + prediction.prompts * prediction.ttft_s


def result_table(results: list[dict[str, Any]]) -> Table:
    """Return the ratios of all domains as a table."""
    table = Table(
        "",
        *(result["domain"] for result in results),
        title="demo model, one thread: median (lowest .. highest)",
    )
    for name, key in (
        ("vanilla / generate", "vanilla_over_transformers"),
        ("adadecode / vanilla", "adadecode_over_vanilla"),
        ("adadecode / generate", "adadecode_over_transformers"),
    ):
        table.add_row(name, *(describe_ratio(result[key]) for result in results))
    table.add_row("  predicted, / vanilla", *(f"{r['predicted_speedup']:.2f}" for r in results))
    table.add_row("  design", *(r["design"] for r in results))
    table.add_row("  texts equal", *(f"{r['equal_texts']} of {r['prompts']}" for r in results))
    table.add_row(
        "generate, tokens/s", *(f"{r['tokens_per_s']['transformers']:.0f}" for r in results)
    )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print and keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=10, help="held-out prompts of each domain")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    predictor = Predictor.of(read_profile(PROFILE))
    results = []
    for domain in DOMAINS:
        recorded = predictor.prompts([domain])
        best = best_design(predictor, recorded)
        texts = [
            (encode(demo.tokenizer, prompt), prompt.max_new_tokens or NEW_TOKENS)
            for prompt in demo.of(domain)[len(recorded) :][: options.prompts]
        ]
        vanilla = predictor.predict(Design.of("vanilla"), recorded)
        result = measure(domain, decoder, texts, best.design, options.repeats)
        result["predicted_speedup"] = total_seconds(vanilla) / total_seconds(best)
        results.append(result)
    write_result("speed", {"results": results})
    Console().print(result_table(results))


if __name__ == "__main__":
    main()
