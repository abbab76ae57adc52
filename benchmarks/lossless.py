"""Compare AdaDecode's texts with greedy ``generate``: every architecture in small, then the demo.

A run is *equal* (token for token), *explained* (at the first difference the reference's two best
logits lie within 1e-4 of each other, relative to the larger: a batch of another size rounds
differently, and flips a near-tie), or *unexplained*. In FP64 nothing needs explaining.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import PreTrainedModel

from adadecode.engine import AdaDecoder, ExitHeads, load_demo
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.sim.core.scheduler import Round
from benchmarks.harness import write_result
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
TINY_TOKENS = 32
TINY_PROMPTS = (1, WINDOW, 3 * WINDOW)
"""Lengths of the prompts of the tiny models."""
COLUMNS = ("runs", "equal", "explained", "unexplained", "drafts", "rejected")

Designs = dict[str, dict[str, Any]]
"""Options of `AdaDecoder.generate`, by a label."""


def tiny_designs() -> Designs:
    """Return the designs of the six-layer random models: every kind of gamma, one to five heads."""
    return {
        "vanilla": {"policy": "vanilla"},
        "3, gamma 0": {"placement": (3,), "gamma": 0.0},
        "1/4, gamma 0.3": {"placement": (1, 4), "gamma": 0.3},
        "all, gamma 0.1": {"placement": tuple(range(1, N_LAYERS)), "gamma": 0.1},
        "fixed 4, cap 4": {"policy": "fixed", "placement": (4,), "cap": 4},
    }


def demo_designs(n_layers: int) -> Designs:
    """Return the designs of the demo model: from rarely sure to always sure, one head to all."""
    quarter = n_layers // 4
    three = (quarter, 2 * quarter, 3 * quarter)
    return {
        "vanilla": {"policy": "vanilla"},
        "a quarter, gamma 0": {"placement": (quarter,), "gamma": 0.0},
        "three heads, gamma 0.3": {"placement": three, "gamma": 0.3},
        "three heads, gamma 0.75": {"placement": three, "gamma": 0.75},
        "all heads, gamma 0.75": {"gamma": 0.75},
        "three heads, gamma 1": {"placement": three, "gamma": 1.0},
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
    """Decode a prompt with a design, and count the run, its drafts and its outcome.

    Args:
        decoder: Of the model.
        ids: Of the prompt, shape (1, n).
        text: The model's own greedy text.
        n_tokens: New tokens.
        design: Options of `AdaDecoder.generate`.
        eos: Tokens that end a text.
    """
    generation = decoder.generate(ids, n_tokens, eos_token_id=eos, **design)
    return outcome(decoder.parts.model, ids, text, generation.tokens, generation.rounds)


def outcome(
    model: PreTrainedModel,
    ids: torch.Tensor,
    text: list[int],
    tokens: list[int],
    rounds: Sequence[Round],
) -> Counter[str]:
    """Count one run, its drafts and how its text compares with the model's own.

    Args:
        model: The model.
        ids: Of the prompt, shape (1, n).
        text: The model's own greedy text.
        tokens: What was decoded in its place.
        rounds: In which.
    """
    counts = Counter(
        runs=1,
        drafts=sum(len(done.exits) for done in rounds),
        rejected=sum(len(done.exits) - done.accepted for done in rounds),
    )
    if tokens == text:
        return counts + Counter(equal=1)
    pairs = enumerate(zip(tokens, text, strict=False))
    position = next((index for index, (token, own) in pairs if token != own), None)
    is_near_tie = position is not None and gap_at(model, ids, text, position) < NEAR_TIE
    return counts + Counter({"explained" if is_near_tie else "unexplained": 1})


def check_tiny_model(architecture: str, dtype: torch.dtype) -> Counter[str]:
    """Count all designs and prompts on a tiny random model.

    Once with its own LM head at every depth, and once with random heads.
    """
    model = tiny_model(architecture, dtype)
    decoders = [
        AdaDecoder(model, heads)
        for heads in (ExitHeads.identity(model, range(1, N_LAYERS)), random_heads(model))
    ]
    counts: Counter[str] = Counter()
    for length in TINY_PROMPTS:
        ids = random_prompt(length)
        text = greedy_text(model, ids, TINY_TOKENS)
        for decoder in decoders:
            for design in tiny_designs().values():
                counts += compare(decoder, ids, text, TINY_TOKENS, design, [])
    return counts


def check_demo(dtype: str, domain: str, n_prompts: int, n_tokens: int) -> list[dict[str, Any]]:
    """Return a row for each design of the demo model, in one dtype and on one domain."""
    torch.set_num_threads(1)
    demo = load_demo(DTYPES[dtype])
    decoder = AdaDecoder(demo.model, demo.heads)
    designs = demo_designs(decoder.parts.n_layers)
    counts: dict[str, Counter[str]] = {label: Counter() for label in designs}
    for prompt in demo.prompts[domain][:n_prompts]:
        ids = encode(demo.tokenizer, Prompt(text=prompt))
        text = greedy_text(demo.model, ids, n_tokens, eos=sorted(decoder.eos) or None)
        for label, design in designs.items():
            counts[label] += compare(decoder, ids, text, n_tokens, design, sorted(decoder.eos))
    return [
        {"dtype": dtype, "domain": domain, "design": label} | to_columns(found)
        for label, found in counts.items()
    ]


def to_columns(counts: Counter[str]) -> dict[str, int]:
    """Return the columns of a row, with 0 for what never happened."""
    return {column: counts[column] for column in COLUMNS}


def row_table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Return the rows and their sum as a table."""
    table = Table(title=title, show_footer=True)
    for heading in rows[0]:
        is_number = heading in COLUMNS
        footer = str(sum(row[heading] for row in rows)) if is_number else ""
        table.add_column(heading, footer, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*map(str, row.values()), style="bold red" if row["unexplained"] else None)
    return table


def check_tiny_models(architectures: list[str]) -> list[dict[str, Any]]:
    """Return a row for each architecture and dtype."""
    jobs = [(architecture, dtype) for architecture in architectures for dtype in DTYPES]
    return [
        {"architecture": architecture, "dtype": dtype}
        | to_columns(check_tiny_model(architecture, DTYPES[dtype]))
        for architecture, dtype in track(jobs, "tiny models", transient=True)
    ]


def check_demo_in_processes(n_prompts: int, n_tokens: int, processes: int) -> list[dict[str, Any]]:
    """Return the rows of `check_demo` of every dtype and domain."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(check_demo, dtype, domain, n_prompts, n_tokens)
            for dtype in DTYPES
            for domain in DOMAINS
        ]
        return [row for job in track(jobs, "demo model", transient=True) for row in job.result()]


def main(arguments: list[str] | None = None) -> None:
    """Print the counts and keep them.

    Raises:
        SystemExit: If a difference stays unexplained.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="every second architecture, 4 prompts a domain; keeps nothing",
    )
    parser.add_argument("--tokens", type=int, default=128, help="new tokens [%(default)s]")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console()
    architectures = ARCHITECTURES[:: 2 if options.quick else 1]
    tiny = check_tiny_models(architectures)
    title = f"tiny random models, {TINY_TOKENS} tokens, {len(architectures)} architectures"
    console.print(row_table(title, tiny))
    n_prompts = 4 if options.quick else 32
    demo = check_demo_in_processes(n_prompts, options.tokens, options.processes)
    title = f"demo model, {n_prompts} prompts a domain, up to {options.tokens} tokens"
    console.print(row_table(title, demo))
    rows = tiny + demo
    if not options.quick:
        totals = {
            dtype: {
                column: sum(row[column] for row in rows if row["dtype"] == dtype)
                for column in COLUMNS
            }
            for dtype in DTYPES
        }
        write_result(
            "lossless",
            {
                "near_tie": NEAR_TIE,
                "tokens": {"tiny": TINY_TOKENS, "demo": options.tokens},
                "prompts_per_domain": n_prompts,
                "totals": totals,
                "tiny_models": tiny,
                "demo_model": demo,
            },
        )
    if unexplained := sum(row["unexplained"] for row in rows):
        raise SystemExit(
            f"{unexplained} of {sum(row['runs'] for row in rows)} texts differ "
            "from the model's own without a near-tie to explain it"
        )


if __name__ == "__main__":
    main()
