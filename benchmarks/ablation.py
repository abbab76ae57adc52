"""The paper's ablations (table 3) on the demo model: without verification, and with the model's own LM head in place of trained heads."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, ExitHeads, load_demo
from adadecode.engine.loading.prompts import encode
from benchmarks.harness import in_turn, keep, ratio, spread

NEW_TOKENS = 128
PLACEMENT, GAMMA = (3, 7), 0.75


def consistency(texts: list[list[int]], vanilla: list[list[int]]) -> dict[str, float]:
    """Share of texts equal to vanilla's, and of tokens up to the first difference."""
    equal = sum(a == b for a, b in zip(texts, vanilla, strict=True)) / len(texts)
    same = [
        next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        / max(len(a), len(b))
        for a, b in zip(texts, vanilla, strict=True)
    ]
    return {"texts": equal, "tokens_until_differing": sum(same) / len(same)}


def main(arguments: list[str] | None = None) -> None:
    """Print and keep consistency and speedup of each variant, by domain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=16)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    demo = load_demo()
    trained = AdaDecoder(demo.model, demo.heads)
    identity = AdaDecoder(demo.model, ExitHeads.identity(demo.model, PLACEMENT))
    results: list[dict[str, Any]] = []
    table = Table(
        title=f"heads at {PLACEMENT}, gamma {GAMMA}: share of texts equal, of tokens before they differ; speedup over vanilla"
    )
    for heading in ("domain", "variant", "texts", "tokens", "speedup"):
        table.add_column(heading, justify="left" if heading in ("domain", "variant") else "right")
    for domain in ("arithmetic", "code"):
        ids = [
            (encode(demo.tokenizer, p), p.max_new_tokens or NEW_TOKENS)
            for p in demo.of(domain)[: args.prompts]
        ]
        calls = {
            "vanilla": lambda x, n: trained.generate(x, n, policy="vanilla").tokens,
            "verified": lambda x, n: (
                trained.generate(x, n, gamma=GAMMA, placement=PLACEMENT).tokens
            ),
            "unverified": lambda x, n: (
                trained.generate(x, n, gamma=GAMMA, placement=PLACEMENT, verify=False).tokens
            ),
            "own LM head": lambda x, n: (
                identity.generate(x, n, gamma=GAMMA, placement=PLACEMENT).tokens
            ),
        }
        texts = {name: [call(*x) for x in ids] for name, call in calls.items()}
        seconds = in_turn(
            {name: [lambda x=x, c=call: c(*x) for x in ids] for name, call in calls.items()},
            args.repeats,
        )
        for name in list(calls)[1:]:
            # an unverified text may end elsewhere, so what is compared is seconds per token
            per_token = {
                n: [s / sum(len(t) for t in texts[n]) for s in seconds[n]]
                for n in ("vanilla", name)
            }
            row = {
                "domain": domain,
                "variant": name,
                **consistency(texts[name], texts["vanilla"]),
                "speedup": ratio(per_token["vanilla"], per_token[name]),
            }
            results.append(row)
            table.add_row(
                domain,
                name,
                f"{row['texts']:.3f}",
                f"{row['tokens_until_differing']:.3f}",
                spread(row["speedup"]),
            )
    keep(
        "ablation",
        {
            "placement": PLACEMENT,
            "gamma": GAMMA,
            "prompts": args.prompts,
            "repeats": args.repeats,
            "results": results,
        },
    )
    Console().print(table)


if __name__ == "__main__":
    main()
