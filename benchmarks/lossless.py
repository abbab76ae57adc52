"""Is the text the model's own? Every architecture in small, then the demo model, held against ``transformers``' greedy ``generate``.

A run is *equal* (token for token), *explained* (at the first difference the reference's two best logits lie within 1e-4 of each other,
relative to the larger: a batch of another size rounds differently, and flips a near-tie), or *unexplained*. In FP64 nothing needs explaining.
"""

from __future__ import annotations

import argparse
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adadecode.engine import AdaDecoder, ExitHeads, load_demo
from adadecode.engine.loading.prompts import Prompt, encode
from benchmarks.harness import keep
from tests.support.models import (
    ARCHITECTURES,
    N_LAYERS,
    WINDOW,
    gap_at,
    greedy_text,
    random_heads,
    random_prompt,
    tiny_model,
)

NEAR_TIE = 1e-4
DTYPES = {"FP64": torch.float64, "FP32": torch.float32}
DOMAINS = ("arithmetic", "code", "prose", "unpredictable")
SMALL_TOKENS = 32
SMALL_PROMPTS = (1, WINDOW, 3 * WINDOW)
COLUMNS = ("runs", "equal", "explained", "unexplained", "drafts", "rejected")

Designs = dict[str, dict[str, Any]]


def small_designs() -> Designs:
    """For the six-layer random models: every gamma of interest, one to five heads."""
    return {
        "vanilla": {"policy": "vanilla"},
        "3, gamma 0": {"placement": (3,), "gamma": 0.0},
        "1/4, gamma 0.3": {"placement": (1, 4), "gamma": 0.3},
        "all, gamma 0.1": {"placement": tuple(range(1, N_LAYERS)), "gamma": 0.1},
        "fixed 4, cap 4": {"policy": "fixed", "placement": (4,), "cap": 4},
    }


def demo_designs(n_layers: int) -> Designs:
    """For the demo model: from rarely sure to always sure, one head to all."""
    quarter = n_layers // 4
    return {
        "vanilla": {"policy": "vanilla"},
        "a quarter, gamma 0": {"placement": (quarter,), "gamma": 0.0},
        "three heads, gamma 0.3": {"placement": (quarter, 2 * quarter, 3 * quarter), "gamma": 0.3},
        "three heads, gamma 0.75": {
            "placement": (quarter, 2 * quarter, 3 * quarter),
            "gamma": 0.75,
        },
        "all heads, gamma 0.75": {"gamma": 0.75},
        "three heads, gamma 1": {"placement": (quarter, 2 * quarter, 3 * quarter), "gamma": 1.0},
        "fixed, a quarter": {"policy": "fixed", "placement": (quarter,)},
    }


def compare(
    decoder: AdaDecoder,
    ids: torch.Tensor,
    text: list[int],
    n_tokens: int,
    design: dict[str, Any],
    eos: list[int],
) -> Counter[str]:
    """One run, counted."""
    got = decoder.generate(ids, n_tokens, eos_token_id=eos, **design)
    found = Counter(
        runs=1,
        drafts=sum(len(r.exits) for r in got.rounds),
        rejected=sum(len(r.exits) - r.accepted for r in got.rounds),
    )
    if got.tokens == text:
        return found + Counter(equal=1)
    at = next((i for i, (a, b) in enumerate(zip(got.tokens, text, strict=False)) if a != b), None)
    near = at is not None and gap_at(decoder.parts.model, ids, text, at) < NEAR_TIE
    return found + Counter({"explained" if near else "unexplained": 1})


def small(architecture: str, dtype: torch.dtype) -> Counter[str]:
    """All designs and prompts on a tiny random model, with its own LM head at every depth and with heads that know nothing."""
    model = tiny_model(architecture, dtype)
    decoders = [
        AdaDecoder(model, heads)
        for heads in (ExitHeads.identity(model, range(1, N_LAYERS)), random_heads(model))
    ]
    found: Counter[str] = Counter()
    for length in SMALL_PROMPTS:
        ids = random_prompt(length)
        text = greedy_text(model, ids, SMALL_TOKENS)
        for decoder in decoders:
            for design in small_designs().values():
                found += compare(decoder, ids, text, SMALL_TOKENS, design, [])
    return found


def on_demo(dtype: str, domain: str, n_prompts: int, n_tokens: int) -> list[dict[str, Any]]:
    """The demo model in one dtype on one domain: a row for each design."""
    torch.set_num_threads(1)
    demo = load_demo(DTYPES[dtype])
    decoder = AdaDecoder(demo.model, demo.heads)
    designs = demo_designs(decoder.parts.n_layers)
    counts: dict[str, Counter[str]] = {design: Counter() for design in designs}
    for prompt in demo.prompts[domain][:n_prompts]:
        ids = encode(demo.tokenizer, Prompt(text=prompt))
        text = greedy_text(demo.model, ids, n_tokens, eos=sorted(decoder.eos) or None)
        for design, options in designs.items():
            counts[design] += compare(decoder, ids, text, n_tokens, options, sorted(decoder.eos))
    return [
        {"dtype": dtype, "domain": domain, "design": design} | numbers(found)
        for design, found in counts.items()
    ]


def numbers(found: Counter[str]) -> dict[str, int]:
    """The columns of a row; what never happened is 0."""
    return {column: found[column] for column in COLUMNS}


def tabulate(title: str, rows: list[dict[str, Any]]) -> Table:
    """A row each, and their sum."""
    table = Table(title=title, show_footer=True)
    for heading in rows[0]:
        footer = str(sum(row[heading] for row in rows)) if heading in COLUMNS else ""
        table.add_column(heading, footer, justify="right" if heading in COLUMNS else "left")
    for row in rows:
        table.add_row(*map(str, row.values()), style="bold red" if row["unexplained"] else None)
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print the counts and keep them; fail where a difference stays unexplained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="every second architecture, 4 prompts a domain; keeps nothing",
    )
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console()
    chosen = ARCHITECTURES[:: 2 if args.quick else 1]
    jobs = [(architecture, dtype) for architecture in chosen for dtype in DTYPES]
    by_architecture = [
        {"architecture": architecture, "dtype": dtype} | numbers(small(architecture, DTYPES[dtype]))
        for architecture, dtype in track(jobs, "tiny models", transient=True)
    ]
    console.print(
        tabulate(
            f"tiny random models, {SMALL_TOKENS} tokens, {len(chosen)} architectures",
            by_architecture,
        )
    )
    n_prompts = 4 if args.quick else 32
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(on_demo, dtype, domain, n_prompts, args.tokens)
            for dtype in DTYPES
            for domain in DOMAINS
        ]
        on_the_demo = [
            row for part in track(parts, "demo model", transient=True) for row in part.result()
        ]
    console.print(
        tabulate(
            f"demo model, {n_prompts} prompts a domain, up to {args.tokens} tokens", on_the_demo
        )
    )
    rows = by_architecture + on_the_demo
    if not args.quick:
        keep(
            "lossless",
            {
                "near_tie": NEAR_TIE,
                "tokens": {"tiny": SMALL_TOKENS, "demo": args.tokens},
                "prompts_per_domain": n_prompts,
                "totals": {
                    dtype: {
                        c: sum(row[c] for row in rows if row["dtype"] == dtype) for c in COLUMNS
                    }
                    for dtype in DTYPES
                },
                "tiny_models": by_architecture,
                "demo_model": on_the_demo,
            },
        )
    unexplained = sum(row["unexplained"] for row in rows)
    if unexplained:
        raise SystemExit(
            f"{unexplained} of {sum(row['runs'] for row in rows)} texts differ from the model's own without a near-tie to explain it"
        )


if __name__ == "__main__":
    main()
