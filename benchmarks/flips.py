"""Numerics in 16 bits: how often another batch flips a token, and what prevents it at what cost.

The demo model in BF16 on the CPU:

- *Flips*: every text is teacher-forced through the model in vanilla's shapes.
- *Identity*: every design's texts are compared with vanilla's in canonical numerics, by digests:
  the tokens, the logits that each was chosen from, and every layer's keys and values at every
  position.
- *Ingredients*: canonical numerics with one thing left out at a time.
- *Cost*: seconds of canonical over native runs, in turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import AdaDecoder, Demo, load_demo
from adadecode.engine.cli.tables import flip_tables
from adadecode.engine.evaluation.bitwise import fingerprint
from adadecode.engine.evaluation.token_flips import flip_report
from adadecode.engine.loading.prompts import encode
from adadecode.engine.model.canonical import BUCKET, ROWS, CanonicalModel, CanonicalPass
from adadecode.sim.core.design import Design, Policy
from benchmarks.harness import describe_ratio, in_turn, make_table, ratio, write_result

DESIGNS = (
    Design.of(Policy.ADADECODE, gamma=0.75, placement=(3, 8)),
    Design.of(Policy.ADADECODE, gamma=0.3, placement=(1, 4, 8)),
    Design.of(Policy.ADADECODE, gamma=0.0, placement=(4,)),
    Design.of(Policy.FIXED, placement=(4,), cap=3),
)
BATCHES = (2, 3, 4, 6)
DOMAINS = ("arithmetic", "code", "prose", "unpredictable")


TIMED_PROMPTS, TIMED_TOKENS = 2, 64
"""Prompts, and new tokens of each, of the timed runs."""


def prompts_of(demo: Demo, count: int) -> list[list[int]]:
    """Return the token ids of the first prompts of every domain, the domains in turn."""
    rounds = zip(*(demo.of(domain)[:count] for domain in DOMAINS), strict=True)
    return [encode(demo.tokenizer, prompt)[0].tolist() for prompts in rounds for prompt in prompts]


def check_identity(
    decoder: AdaDecoder,
    prompts: list[list[int]],
    wanted: int,
    max_new_tokens: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Compare texts of the designs with vanilla's, until each design has ``wanted`` tokens.

    Args:
        decoder: With the numerics to check.
        prompts: Token ids, used one after the other.
        wanted: Tokens of each design.
        max_new_tokens: Of each text.
        report: Called with a line of progress after each prompt.
    """
    found = {
        design.label: {"texts": 0, "tokens": 0, "positions": 0, "differing": 0}
        for design in DESIGNS
    }
    for prompt in prompts:
        own = fingerprint(decoder, prompt, Design.of(Policy.VANILLA), max_new_tokens)
        for design in DESIGNS:
            text = fingerprint(decoder, prompt, design, max_new_tokens)
            row = found[design.label]
            row["texts"] += 1
            row["tokens"] += len(text.tokens)
            row["positions"] += len(text.states)
            row["differing"] += text.differing(own)
        tokens = min(row["tokens"] for row in found.values())
        differing = sum(row["differing"] for row in found.values())
        report(
            f"{decoder.numerics}: {tokens} of {wanted} tokens of each design, "
            f"{differing} places differ"
        )
        if tokens >= wanted:
            break
    return {
        "numerics": decoder.numerics,
        "tokens": sum(row["tokens"] for row in found.values()),
        "differing": sum(row["differing"] for row in found.values()),
        "designs": [{"design": label, **row} for label, row in found.items()],
    }


def check_ingredients(dtype: str, max_new_tokens: int = 32) -> list[dict[str, Any]]:
    """Leave out one thing at a time that canonical numerics need.

    Returns:
        A row for each of them: how many tokens' logits then differ from vanilla's.
    """
    demo = load_demo(dtype)
    decoder = AdaDecoder(demo.model, demo.heads, numerics="canonical")
    with torch.inference_mode():
        decoder.parts.allocate(BUCKET + 1)  # at once: without buckets there would be less room
    found = []
    for left_out, (make_pass, end) in _ablations().items():
        differing = tokens = 0
        with (
            patch.object(CanonicalPass, "of", classmethod(make_pass)),
            patch.object(CanonicalModel, "_end", end),
        ):
            for prompt in prompts_of(demo, 1)[:2]:
                own, text = (
                    fingerprint(decoder, prompt, design, max_new_tokens)
                    for design in (Design.of(Policy.VANILLA), DESIGNS[1])
                )
                differing += sum(a != b for a, b in zip(own.logits, text.logits, strict=False))
                tokens += min(len(own.logits), len(text.logits))
        found.append(
            {"dtype": dtype, "left_out": left_out, "tokens": tokens, "differing": differing}
        )
    return found


def _ablations() -> dict[str, tuple[Any, Any]]:
    """Return, by what is left out, the replacements of `CanonicalPass.of` and the model's end."""
    make_pass: Any = CanonicalPass.of.__func__  # type: ignore[attr-defined]
    end = CanonicalModel._end  # noqa: SLF001 - this benchmark shows what it is needed for

    def unpadded(cls: type[CanonicalPass], *arguments: Any) -> CanonicalPass:  # noqa: ANN401 - as of
        start, stop = arguments[:2]
        padded = make_pass(cls, *arguments)
        rows, positions = torch.arange(stop - start), torch.arange(start, stop)
        return _rearranged(padded, order=rows, positions=positions, back=rows)

    def padded_at_the_end(cls: type[CanonicalPass], *arguments: Any) -> CanonicalPass:  # noqa: ANN401 - as of
        start, stop, last = arguments[:3]
        rows = torch.arange(ROWS)
        return _rearranged(
            make_pass(cls, *arguments),
            order=torch.where(rows < stop - start, rows, 0),
            positions=(start + rows).clamp(max=last),
            back=rows[: stop - start],
        )

    return {
        "nothing": (make_pass, end),
        "padding": (unpadded, end),
        "a position's own row": (padded_at_the_end, end),
        "buckets": (make_pass, lambda _, position: position + 1),
    }


def _rearranged(
    made: CanonicalPass, *, order: torch.Tensor, positions: torch.Tensor, back: torch.Tensor
) -> CanonicalPass:
    """Return a pass with its rows in another order."""
    late = positions >= made.ends[0]
    return replace(
        made, order=order, positions=positions, back=back, late=late, _masks={}, _moved={}
    )


def measure_cost(
    decoders: Mapping[str, AdaDecoder],
    prompts: list[list[int]],
    max_new_tokens: int,
    repeats: int,
) -> dict[str, Any]:
    """Time canonical and native runs of vanilla and of the first design, prompt by prompt in turn.

    Returns:
        Seconds of canonical over native, by run.
    """
    designs: dict[str, dict[str, Any]] = {
        "vanilla": {"policy": Policy.VANILLA},
        DESIGNS[0].label: {"gamma": DESIGNS[0].gammas, "placement": DESIGNS[0].placement},
    }
    jobs = {
        f"{numerics} {name}": [
            partial(decoder.generate, torch.tensor([prompt]), max_new_tokens, **design)
            for prompt in prompts
        ]
        for numerics, decoder in decoders.items()
        for name, design in designs.items()
    }
    seconds = in_turn(jobs, repeats)
    return {
        name: ratio(seconds[f"canonical {name}"], seconds[f"native {name}"]) for name in designs
    }


def make_decoders(demo: Demo) -> dict[str, AdaDecoder]:
    """Return a decoder of the demo model for each numerics."""
    return {
        numerics: AdaDecoder(demo.model, demo.heads, numerics=numerics)
        for numerics in ("native", "canonical")
    }


def flip_reports(
    decoders: Mapping[str, AdaDecoder], prompts: list[list[int]], max_new_tokens: int
) -> list[dict[str, Any]]:
    """Return the flip report of each numerics.

    Nothing can flip in canonical numerics, so a quarter of the texts and one batch show it.
    """
    few = prompts[: max(1, len(prompts) // 4)]
    return [
        flip_report(decoders["native"], prompts, DESIGNS, max_new_tokens, BATCHES),
        flip_report(decoders["canonical"], few, DESIGNS, max_new_tokens, BATCHES[:1]),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Print the tables and keep the figures.

    Raises:
        SystemExit: If a canonical run differs from vanilla's, or a native flip is no near-tie.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tokens", type=int, default=10_000, help="of each design, for the identity"
    )
    parser.add_argument("--prompts", type=int, default=8, help="of each domain, for the flips")
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3, help="of the timed runs")
    parser.add_argument("--quick", action="store_true", help="a few prompts; keeps nothing")
    options = parser.parse_args(arguments)
    if options.quick:
        options.tokens, options.prompts, options.repeats = 100, 1, 1
    torch.set_num_threads(1)
    console = Console()
    demo = load_demo("bfloat16")
    prompts = prompts_of(demo, min(len(demo.of(domain)) for domain in DOMAINS))
    decoders = make_decoders(demo)
    result: dict[str, Any] = {"dtype": "bfloat16", "cost": {}}
    result["flips"] = flip_reports(
        decoders, prompts[: len(DOMAINS) * options.prompts], options.max_new_tokens
    )
    for report in result["flips"]:
        console.print(*flip_tables(report))
    result["ingredients"] = [
        row for dtype in ("float32", "bfloat16") for row in check_ingredients(dtype)
    ]
    for row in result["ingredients"]:
        console.log(
            f"{row['dtype']}, canonical without {row['left_out']}: "
            f"logits differ at {row['differing']} of {row['tokens']} tokens"
        )
    for key, numerics, wanted in (
        ("identity", "canonical", options.tokens),
        ("identity_native", "native", options.tokens // 20),
    ):
        result[key] = check_identity(
            decoders[numerics], prompts, wanted, options.max_new_tokens, console.log
        )
    timed = prompts[:TIMED_PROMPTS]
    for dtype, pair in (
        ("bfloat16", decoders),
        ("float32", make_decoders(load_demo("float32"))),
    ):
        result["cost"][dtype] = measure_cost(pair, timed, TIMED_TOKENS, options.repeats)
    console.print(cost_table(result["cost"]))
    if not options.quick:
        write_result("flips", result)
    beyond = any(row["beyond"] for report in result["flips"] for row in report["designs"])
    if result["identity"]["differing"] or beyond:
        raise SystemExit(
            "a canonical run differs from vanilla's, or a native flip is no near-tie: "
            "see the tables"
        )


def cost_table(cost: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the seconds of canonical over native runs as a table."""
    table = make_table(
        "seconds of canonical over native",
        *("dtype", "run", "canonical / native"),
        words=("dtype", "run"),
    )
    for dtype, runs in cost.items():
        for name, seconds in runs.items():
            table.add_row(dtype, name, describe_ratio(seconds))
    return table


if __name__ == "__main__":
    main()
