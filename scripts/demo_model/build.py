"""Make the shipped demo from a trained model: heads at every depth, prompt sets, and the card with what was measured.

``python -m scripts.demo_model.build --trained DIR`` after ``python -m scripts.demo_model.train --out DIR``; each finished step is kept in DIR.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo import MODEL
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.heads_file import CONFIG, WEIGHTS
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.training.pipeline import train_heads
from scripts.demo_model.arithmetic import final_number
from scripts.demo_model.corpus import problems
from scripts.demo_model.model_card import write_card
from scripts.demo_model.prompt_sets import (
    NEW_TOKENS,
    choose_prompts,
    distinct_4grams,
    write_prompts,
)
from scripts.demo_model.prompt_sets import code as code_prompts
from scripts.demo_model.train import EXIT_WEIGHT, QUESTION_WEIGHT, SHALLOW, held_out_loss

GRADED = 200
"""Held-out word problems whose answers are checked."""

ARITHMETIC, CODE = 260, 70
"""Word problems and code prompts that the heads are trained on."""


def head_prompts(arithmetic: int, code: int) -> list[Prompt]:
    """What the heads are trained on: word problems and code from the training side."""
    words = [
        Prompt(text=p.prompt, domain="arithmetic")
        for p in itertools.islice(problems(21, held_out=False, events=(3, 6)), arithmetic)
    ]
    return words + [
        Prompt(text=text, domain="code")
        for text in itertools.islice(code_prompts(held_out=False), code)
    ]


def grade(decoder: AdaDecoder, tokenizer: Any) -> dict[str, float]:
    """Greedy answers to GRADED held-out word problems: share right, share that reach an answer, distinct 4-grams."""
    right = answered = 0
    fresh = []
    for problem in itertools.islice(problems(31, held_out=True, events=(3, 6)), GRADED):
        tokens = decoder.generate(
            encode(tokenizer, Prompt(text=problem.prompt, domain="arithmetic")),
            max_new_tokens=200,
            policy="vanilla",
        ).tokens
        number = final_number(tokenizer.decode(tokens, skip_special_tokens=True))
        right += number == problem.result
        answered += number is not None
        fresh.append(distinct_4grams(tokens))
    return {
        "problems": GRADED,
        "right": right / GRADED,
        "answered": answered / GRADED,
        "distinct_4grams": sum(fresh) / len(fresh),
    }


def by_depth(
    decoder: AdaDecoder, tokenizer: Any, prompts: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """For each domain and depth: agreement with the last layer, mean confidence, mean overlap of the distributions; mean length."""
    rows = []
    for domain, group in itertools.groupby(prompts, key=lambda p: p["domain"]):
        said: dict[int, list[dict[str, Any]]] = {}
        lengths = []
        for prompt in group:
            ids = tuple(encode(tokenizer, Prompt(text=prompt["prompt"], domain=domain))[0].tolist())
            with torch.inference_mode():
                decoder.parts.allocate(len(ids) + NEW_TOKENS)
            with decoder.parts.session():
                text, trace = Counterfactual(decoder).trace(ids, prompt["max_new_tokens"])
            lengths.append(len(text.outputs))
            for row in trace:
                said.setdefault(row["depth"], []).append(row)
        for depth, found in sorted(said.items()):
            means = {
                k: sum(r[k] for r in found) / len(found)
                for k in ("agrees", "confidence", "acceptance")
            }
            rows.append(
                {
                    "domain": domain,
                    "depth": depth,
                    **means,
                    "positions": len(found),
                    "mean_length": sum(lengths) / len(lengths),
                }
            )
    return rows


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What ``make`` returns (anything JSON holds), made once and then read from ``path``."""
    if not path.exists():
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(make()))
        partial.replace(path)
    return json.loads(path.read_text())


def main() -> None:
    """Build into the package's own folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument(
        "--arithmetic", type=int, default=ARITHMETIC, help="word problems to train the heads on"
    )
    parser.add_argument("--code", type=int, default=CODE, help="code prompts to train the heads on")
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    console = Console()
    MODEL.mkdir(exist_ok=True)
    for name in (
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        shutil.copy2(args.trained / name, MODEL / name)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    depths = range(1, model.config.num_hidden_layers)
    console.print("training the heads")
    train_heads(
        model,
        tokenizer,
        head_prompts(args.arithmetic, args.code),
        tuple(depths),
        args.trained / "heads",
        max_new_tokens=NEW_TOKENS,
        epochs=args.epochs,
        console=console,
    )
    for name in (WEIGHTS, CONFIG):
        shutil.copy2(args.trained / "heads" / name, MODEL / name)
    decoder = AdaDecoder(model, ExitHeads.load(MODEL, model))
    console.print("choosing the prompts")

    def continue_(text: str) -> list[int]:
        ids = encode(tokenizer, Prompt(text=text, domain=""))
        return decoder.generate(ids, max_new_tokens=NEW_TOKENS, gamma=0.7, placement=(3, 7)).tokens

    prompts, repetition = kept(args.trained / "prompts.json", lambda: choose_prompts(continue_))
    write_prompts(prompts, MODEL / "prompts.jsonl")
    console.print("measuring")
    log = [json.loads(line) for line in (args.trained / "train.jsonl").read_text().splitlines()]
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "training": {
            "shallow_steps": max(entry["step"] for entry in log if entry["layers"] == SHALLOW) + 1,
            "steps": log[-1]["step"] + 1,
            "tokens": log[-1]["tokens"],
            "exit_weight": EXIT_WEIGHT,
            "question_weight": QUESTION_WEIGHT,
        },
        "held_out_loss": held_out_loss(model, tokenizer),
        "answers": kept(args.trained / "answers.json", lambda: grade(decoder, tokenizer)),
        "repetition": repetition,
        "by_depth": by_depth(decoder, tokenizer, prompts),
        "heads": decoder.heads.metrics,
    }
    (MODEL / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    write_card(facts, MODEL / "README.md")
    console.print(f"the demo model is in {MODEL}")


if __name__ == "__main__":
    main()
