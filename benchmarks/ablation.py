"""The paper's ablations (table 3) on the demo model: no verification, and no trained heads.

The model's own LM head takes the place of trained heads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console

from adadecode.engine import AdaDecoder, Demo, ExitHeads, load_demo
from adadecode.engine.loading.prompts import encode
from benchmarks.harness import describe_ratio, in_turn, make_table, ratio, write_result

NEW_TOKENS = 128
PLACEMENT, GAMMA = (3, 7), 0.75
DOMAINS = ("arithmetic", "code")

Decode = Callable[[torch.Tensor, int], list[int]]
"""Decodes a number of tokens after a prompt of shape (1, n)."""


def consistency(texts: list[list[int]], vanilla: list[list[int]]) -> dict[str, float]:
    """Return the share of texts equal to vanilla's, and of tokens up to the first difference."""
    pairs = list(zip(texts, vanilla, strict=True))
    return {
        "texts": sum(text == own for text, own in pairs) / len(texts),
        "tokens_until_differing": sum(common_share(*pair) for pair in pairs) / len(texts),
    }


def common_share(text: list[int], other: list[int]) -> float:
    """Return the share of the longer text that both begin with."""
    tokens = enumerate(zip(text, other, strict=False))
    common = next((index for index, (one, two) in tokens if one != two), min(len(text), len(other)))
    return common / max(len(text), len(other))


def variants(trained: AdaDecoder, untrained: AdaDecoder) -> dict[str, Decode]:
    """Return the ways to decode, vanilla first.

    Args:
        trained: With trained heads.
        untrained: With the model's own LM head at every depth.
    """
    design: dict[str, Any] = {"gamma": GAMMA, "placement": PLACEMENT}
    return {
        "vanilla": lambda ids, n: trained.generate(ids, n, policy="vanilla").tokens,
        "verified": lambda ids, n: trained.generate(ids, n, **design).tokens,
        "unverified": lambda ids, n: trained.generate(ids, n, verify=False, **design).tokens,
        "own LM head": lambda ids, n: untrained.generate(ids, n, **design).tokens,
    }


def measure(
    domain: str, demo: Demo, decoders: dict[str, Decode], n_prompts: int, repeats: int
) -> list[dict[str, Any]]:
    """Return consistency and speedup of each variant on the prompts of one domain.

    An unverified text may end elsewhere, so seconds per token are compared.
    """
    prompts = [
        (encode(demo.tokenizer, prompt), prompt.max_new_tokens or NEW_TOKENS)
        for prompt in demo.of(domain)[:n_prompts]
    ]
    texts = {name: [decode(*prompt) for prompt in prompts] for name, decode in decoders.items()}
    jobs = {
        name: [lambda p=prompt, d=decode: d(*p) for prompt in prompts]
        for name, decode in decoders.items()
    }
    token_s = {}
    for name, seconds in in_turn(jobs, repeats).items():
        n_tokens = sum(map(len, texts[name]))
        token_s[name] = [spent / n_tokens for spent in seconds]
    return [
        {
            "domain": domain,
            "variant": name,
            **consistency(texts[name], texts["vanilla"]),
            "speedup": ratio(token_s["vanilla"], token_s[name]),
        }
        for name in decoders
        if name != "vanilla"
    ]


def main(arguments: list[str] | None = None) -> None:
    """Print and keep consistency and speedup of each variant, by domain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=16, help="of each domain [%(default)s]")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    decoders = variants(
        AdaDecoder(demo.model, demo.heads),
        AdaDecoder(demo.model, ExitHeads.identity(demo.model, PLACEMENT)),
    )
    results = [
        row
        for domain in DOMAINS
        for row in measure(domain, demo, decoders, options.prompts, options.repeats)
    ]
    table = make_table(
        f"heads at {PLACEMENT}, gamma {GAMMA}: share of texts equal, of tokens before they differ; "
        "speedup over vanilla",
        *("domain", "variant", "texts", "tokens", "speedup"),
        words=("domain", "variant"),
    )
    for row in results:
        table.add_row(
            row["domain"],
            row["variant"],
            f"{row['texts']:.3f}",
            f"{row['tokens_until_differing']:.3f}",
            describe_ratio(row["speedup"]),
        )
    write_result(
        "ablation",
        {
            "placement": PLACEMENT,
            "gamma": GAMMA,
            "prompts": options.prompts,
            "repeats": options.repeats,
            "results": results,
        },
    )
    Console().print(table)


if __name__ == "__main__":
    main()
