"""Make the shipped demo from a trained model: heads at every depth, prompt sets and the card.

    python -m scripts.demo_model.build --trained DIR

DIR is the folder that ``python -m scripts.demo_model.train --out DIR`` wrote. Each finished step is
kept there, so that a later call does not repeat it.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.demo import MODEL
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.heads_description import CONFIG
from adadecode.engine.heads.heads_file import WEIGHTS
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.training.options import TrainingOptions
from adadecode.engine.training.pipeline import train_heads
from adadecode.profiles.atomic_write import write_bytes, write_json
from adadecode.sim.cli.errors import exiting_on_error
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

Result = TypeVar("Result")

GRADED = 200
"""Held-out word problems whose answers are checked."""
ANSWER_TOKENS = 200
"""The most tokens of an answer."""
ARITHMETIC, CODE = 260, 70
"""Word problems and code prompts that the heads are trained on."""
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
"""Files of the trained model that are shipped."""
MEASURED = ("agrees", "confidence", "acceptance")
"""What is averaged by depth."""


def head_prompts(arithmetic: int, code: int) -> list[Prompt]:
    """Return what the heads are trained on: word problems and code from the training side.

    Args:
        arithmetic: Number of word problems.
        code: Number of code prompts.
    """
    stories = itertools.islice(problems(21, held_out=False, events=(3, 6)), arithmetic)
    sources = itertools.islice(code_prompts(held_out=False), code)
    return [
        *(Prompt(text=problem.prompt, domain="arithmetic") for problem in stories),
        *(Prompt(text=text, domain="code") for text in sources),
    ]


def grade(decoder: AdaDecoder, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Answer `GRADED` held-out word problems greedily, and check the answers.

    Returns:
        The number of ``problems``; the shares that are ``right`` and that are ``answered`` at all;
        and the mean share of distinct 4-grams.
    """
    right = answered = 0
    distinct = []
    for problem in itertools.islice(problems(31, held_out=True, events=(3, 6)), GRADED):
        prompt = Prompt(text=problem.prompt, domain="arithmetic")
        tokens = decoder.generate(
            encode(tokenizer, prompt), max_new_tokens=ANSWER_TOKENS, policy="vanilla"
        ).tokens
        number = final_number(tokenizer.decode(tokens, skip_special_tokens=True))
        right += number == problem.result
        answered += number is not None
        distinct.append(distinct_4grams(tokens))
    return {
        "problems": GRADED,
        "right": right / GRADED,
        "answered": answered / GRADED,
        "distinct_4grams": sum(distinct) / len(distinct),
    }


def measure_depths(
    decoder: AdaDecoder, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one row for each domain and depth, along the greedy texts of the prompts.

    A row holds the agreement with the last layer, the mean confidence, the mean overlap of the
    distributions, the number of positions, and the mean length of a text.
    """
    rows = []
    for domain, group in itertools.groupby(prompts, key=lambda prompt: prompt["domain"]):
        outputs: dict[int, list[dict[str, Any]]] = {}
        lengths = []
        for prompt in group:
            ids = tuple(encode(tokenizer, Prompt(text=prompt["prompt"], domain=domain))[0].tolist())
            with torch.inference_mode():
                decoder.parts.allocate(len(ids) + NEW_TOKENS)
            with decoder.parts.session():
                text, trace = Counterfactual(decoder).trace(ids, prompt["max_new_tokens"])
            lengths.append(len(text.outputs))
            for output in trace:
                outputs.setdefault(output["depth"], []).append(output)
        for depth, found in sorted(outputs.items()):
            row = {
                "domain": domain,
                "depth": depth,
                **{key: sum(output[key] for output in found) / len(found) for key in MEASURED},
                "positions": len(found),
                "mean_length": sum(lengths) / len(lengths),
            }
            rows.append(row)
    return rows


def cached(path: Path, function: Callable[[], Result]) -> Result:
    """Return what a function returns, which is called once and kept in ``path`` as JSON."""
    if not path.exists():
        write_json(path, function(), indent=None)
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    return result


def main() -> None:
    """Build into the package's own folder."""
    options = _parser().parse_args()
    console = Console()
    for name in MODEL_FILES:
        write_bytes(MODEL / name, (options.trained / name).read_bytes())
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)

    console.print("training the heads")
    train_heads(
        model,
        tokenizer,
        head_prompts(options.arithmetic, options.code),
        out=options.trained / "heads",
        options=TrainingOptions(depths="all", max_new_tokens=NEW_TOKENS, epochs=options.epochs),
    )
    for name in (WEIGHTS, CONFIG):
        write_bytes(MODEL / name, (options.trained / "heads" / name).read_bytes())
    decoder = AdaDecoder(model, ExitHeads.load(MODEL, model))

    console.print("choosing the prompts")
    prompts, repetition = cached(
        options.trained / "prompts.json",
        lambda: choose_prompts(partial(continue_text, decoder, tokenizer)),
    )
    write_prompts(prompts, MODEL / "prompts.jsonl")

    console.print("measuring")
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training": training_facts(options.trained),
        "held_out_loss": held_out_loss(model, tokenizer),
        "answers": cached(options.trained / "answers.json", lambda: grade(decoder, tokenizer)),
        "repetition": repetition,
        "by_depth": measure_depths(decoder, tokenizer, prompts),
        "heads": decoder.heads.metrics,
        **gate_facts(decoder.heads),
    }
    write_json(MODEL / "facts.json", facts)
    write_card(facts, MODEL / "README.md")
    console.print(f"the demo model is in {MODEL}")


def gate_facts(heads: ExitHeads) -> dict[str, Any]:
    """Return what the card says of the gates; nothing where the heads have none."""
    if heads.gates is None:
        return {}
    return {"gates": {"confidence": heads.gates.confidence, "by_depth": heads.gates.metrics}}


def continue_text(decoder: AdaDecoder, tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the greedy continuation of a text, of at most `NEW_TOKENS` tokens."""
    ids = encode(tokenizer, Prompt(text=text, domain=""))
    return decoder.generate(ids, max_new_tokens=NEW_TOKENS, gamma=0.7, placement=(3, 7)).tokens


def training_facts(trained: Path) -> dict[str, Any]:
    """Return the steps, tokens and loss weights of the training, from its log."""
    lines = (trained / "train.jsonl").read_text(encoding="utf-8").splitlines()
    log = [json.loads(line) for line in lines]
    return {
        "shallow_steps": max(entry["step"] for entry in log if entry["layers"] == SHALLOW) + 1,
        "steps": log[-1]["step"] + 1,
        "tokens": log[-1]["tokens"],
        "exit_weight": EXIT_WEIGHT,
        "question_weight": QUESTION_WEIGHT,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trained", type=Path, required=True, help="folder of the trained model")
    parser.add_argument(
        "--arithmetic",
        type=int,
        default=ARITHMETIC,
        help="word problems to train the heads on [%(default)s]",
    )
    parser.add_argument(
        "--code", type=int, default=CODE, help="code prompts to train the heads on [%(default)s]"
    )
    parser.add_argument(
        "--epochs", type=int, default=6, help="passes over the training positions [%(default)s]"
    )
    return parser


if __name__ == "__main__":
    with exiting_on_error():
        main()
