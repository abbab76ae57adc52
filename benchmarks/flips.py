"""Numerics: how often another batch changes a token in 16 bits (native), that nothing ever changes (canonical), what that takes and costs.

The demo model in BF16 on the CPU. *Flips*: every text teacher-forced through the model in vanilla's shapes. *Identity*: every design's texts against
vanilla's in canonical numerics: tokens, the logits each was chosen from, and every layer's keys and values at every position, by digests. *Cost*: seconds of
canonical over native runs, in turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, Demo, load_demo
from adadecode.engine.cli.tables import tables
from adadecode.engine.evaluation.bitwise import fingerprint
from adadecode.engine.evaluation.token_flips import flip_report
from adadecode.engine.loading.prompts import encode
from adadecode.engine.model.canonical import BUCKET, ROWS, CanonicalModel, Pass
from adadecode.sim.core.design import Design, Policy
from benchmarks.harness import in_turn, keep, ratio, spread

DESIGNS = (
    Design.of(Policy.ADADECODE, gamma=0.75, placement=(3, 8)),
    Design.of(Policy.ADADECODE, gamma=0.3, placement=(1, 4, 8)),
    Design.of(Policy.ADADECODE, gamma=0.0, placement=(4,)),
    Design.of(Policy.FIXED, placement=(4,), cap=3),
)
BATCHES = (2, 3, 4, 6)
DOMAINS = ("arithmetic", "code", "prose", "unpredictable")


def prompts_of(demo: Demo, count: int) -> list[list[int]]:
    """Token ids of the first prompts of every domain, the domains in turn."""
    texts = [
        prompt
        for row in zip(*(demo.of(domain)[:count] for domain in DOMAINS), strict=True)
        for prompt in row
    ]
    return [encode(demo.tokenizer, prompt)[0].tolist() for prompt in texts]


def identity(
    decoder: AdaDecoder,
    prompts: list[list[int]],
    wanted: int,
    max_new_tokens: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Texts of the designs, prompt after prompt, each held against vanilla's, until each design has ``wanted`` tokens."""
    found = {
        design.label: {"texts": 0, "tokens": 0, "positions": 0, "differing": 0}
        for design in DESIGNS
    }
    for prompt in prompts:
        own = fingerprint(decoder, prompt, Design.of(Policy.VANILLA), max_new_tokens)
        for design in DESIGNS:
            got = fingerprint(decoder, prompt, design, max_new_tokens)
            row = found[design.label]
            row["texts"] += 1
            row["tokens"] += len(got.tokens)
            row["positions"] += len(got.states)
            row["differing"] += got.differing(own)
        total = min(row["tokens"] for row in found.values())
        say(
            f"{decoder.numerics}: {total} of {wanted} tokens of each design, {sum(row['differing'] for row in found.values())} places differ"
        )
        if total >= wanted:
            break
    return {
        "numerics": decoder.numerics,
        "tokens": sum(row["tokens"] for row in found.values()),
        "differing": sum(row["differing"] for row in found.values()),
        "designs": [{"design": label, **row} for label, row in found.items()],
    }


def ingredients(dtype: str, max_new_tokens: int = 32) -> list[dict[str, Any]]:
    """What canonical numerics need: one thing left out at a time, and how many tokens' logits then differ from vanilla's."""

    def unpadded(
        cls: type[Pass],
        start: int,
        stop: int,
        last: int,
        end: Callable[[int], int],
        device: torch.device,
    ) -> Pass:
        whole, rows, positions = (
            of(cls, start, stop, last, end, device),
            torch.arange(stop - start),
            torch.arange(start, stop),
        )
        return replace(
            whole,
            order=rows,
            positions=positions,
            back=rows,
            late=positions >= whole.ends[0],
            _masks={},
            _moved={},
        )

    def padded_at_the_end(
        cls: type[Pass],
        start: int,
        stop: int,
        last: int,
        end: Callable[[int], int],
        device: torch.device,
    ) -> Pass:
        whole, rows = of(cls, start, stop, last, end, device), torch.arange(ROWS)
        positions = (start + rows).clamp(max=last)
        order, back = torch.where(rows < stop - start, rows, 0), rows[: stop - start]
        return replace(
            whole,
            order=order,
            positions=positions,
            back=back,
            late=positions >= whole.ends[0],
            _masks={},
            _moved={},
        )

    of, end = Pass.of.__func__, CanonicalModel._end  # type: ignore[attr-defined]
    changes: dict[str, tuple[Any, Any]] = {
        "nothing": (of, end),
        "padding": (unpadded, end),
        "a position's own row": (padded_at_the_end, end),
        "buckets": (of, lambda _, position: position + 1),
    }
    demo = load_demo(dtype)
    decoder = AdaDecoder(demo.model, demo.heads, numerics="canonical")
    with torch.inference_mode():
        decoder.parts.allocate(
            BUCKET + 1
        )  # all of it at once: without buckets there would be less room
    found = []
    for left_out, (made, bucket) in changes.items():
        differing = tokens = 0
        with (
            patch.object(Pass, "of", classmethod(made)),
            patch.object(CanonicalModel, "_end", bucket),
        ):
            for prompt in prompts_of(demo, 1)[:2]:
                own, got = (
                    fingerprint(decoder, prompt, design, max_new_tokens)
                    for design in (Design.of(Policy.VANILLA), DESIGNS[1])
                )
                differing += sum(a != b for a, b in zip(own.logits, got.logits, strict=False))
                tokens += min(len(own.logits), len(got.logits))
        found.append(
            {"dtype": dtype, "left_out": left_out, "tokens": tokens, "differing": differing}
        )
    return found


def cost(
    decoders: dict[str, AdaDecoder], prompts: list[list[int]], max_new_tokens: int, repeats: int
) -> dict[str, Any]:
    """Seconds of canonical over native, vanilla and the first design, prompt by prompt in turn."""
    options: dict[str, dict[str, Any]] = {
        "vanilla": {"policy": Policy.VANILLA},
        DESIGNS[0].label: {"gamma": DESIGNS[0].gammas, "placement": DESIGNS[0].placement},
    }

    def job(decoder: AdaDecoder, prompt: list[int], design: dict[str, Any]) -> Callable[[], Any]:
        return lambda: decoder.generate(torch.tensor([prompt]), max_new_tokens, **design)

    jobs = {
        f"{numerics} {name}": [job(decoder, prompt, design) for prompt in prompts]
        for numerics, decoder in decoders.items()
        for name, design in options.items()
    }
    seconds = in_turn(jobs, repeats)
    return {
        name: ratio(seconds[f"canonical {name}"], seconds[f"native {name}"]) for name in options
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the tables and keep the figures; fail where a canonical run differs from vanilla's, or a native flip is no near-tie."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tokens", type=int, default=10_000, help="of each design, for the identity"
    )
    parser.add_argument("--prompts", type=int, default=8, help="of each domain, for the flips")
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3, help="of the timed runs")
    parser.add_argument("--quick", action="store_true", help="a few prompts; keeps nothing")
    args = parser.parse_args(arguments)
    if args.quick:
        args.tokens, args.prompts, args.repeats = 100, 1, 1
    torch.set_num_threads(1)
    console = Console()
    result: dict[str, Any] = {"dtype": "bfloat16", "flips": [], "cost": {}}
    demo = load_demo("bfloat16")
    prompts = prompts_of(demo, min(len(demo.of(domain)) for domain in DOMAINS))
    decoders = {
        numerics: AdaDecoder(demo.model, demo.heads, numerics=numerics)
        for numerics in ("native", "canonical")
    }
    for numerics, share in (
        ("native", 1),
        ("canonical", 4),
    ):  # where nothing can flip, a quarter of the texts shows it; the identity has the rest
        chosen = prompts[: max(1, 4 * args.prompts // share)]
        report = flip_report(
            decoders[numerics],
            chosen,
            DESIGNS,
            args.max_new_tokens,
            BATCHES if numerics == "native" else BATCHES[:1],
        )
        console.print(*tables(report))
        result["flips"].append(report)
    result["ingredients"] = [row for dtype in ("float32", "bfloat16") for row in ingredients(dtype)]
    for row in result["ingredients"]:
        console.log(
            f"{row['dtype']}, canonical without {row['left_out']}: logits differ at {row['differing']} of {row['tokens']} tokens"
        )
    result["identity"] = identity(
        decoders["canonical"], prompts, args.tokens, args.max_new_tokens, console.log
    )
    result["identity_native"] = identity(
        decoders["native"], prompts, args.tokens // 20, args.max_new_tokens, console.log
    )
    for dtype in ("bfloat16", "float32"):
        other = demo if dtype == "bfloat16" else load_demo(dtype)
        made = (
            decoders
            if dtype == "bfloat16"
            else {n: AdaDecoder(other.model, other.heads, numerics=n) for n in decoders}
        )
        result["cost"][dtype] = cost(made, list(islice(prompts, 2)), 64, args.repeats)
    table = Table("dtype", "run", "canonical / native", title="seconds of canonical over native")
    for dtype, rows in result["cost"].items():
        for name, seconds in rows.items():
            table.add_row(dtype, name, spread(seconds))
    console.print(table)
    if not args.quick:
        keep("flips", result)
    if result["identity"]["differing"] or any(
        row["beyond"] for report in result["flips"] for row in report["designs"]
    ):
        raise SystemExit(
            "a canonical run differs from vanilla's, or a native flip is no near-tie: see the tables"
        )


if __name__ == "__main__":
    main()
