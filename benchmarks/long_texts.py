"""Compare the peak memory of long texts with that of ``generate``, each in a process of its own.

Random models, small but for what a case is about: a vocabulary of 152,064 tokens; a sliding window
with grouped queries and a prompt of 6,000 tokens; capped scores. Each process makes the model,
takes a few tokens of the text, and says how many bytes of memory it held at most, before the text
and in all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from adadecode.engine import AdaDecoder
from benchmarks.harness import make_table, write_result

GIB = 2**30
TOKENS = 4
"""New tokens that are taken of a text."""
SIDES = ("generate", "AdaDecoder")

NARROW: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 1000,
    "max_position_embeddings": 65536,
    "eos_token_id": None,
}
GROUPED: dict[str, Any] = NARROW | {"num_attention_heads": 16, "sliding_window": 2048}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and a text of it.

    Attributes:
        title: What is long or wide about it.
        architecture: The kind of model.
        config: Its settings.
        prompt: Tokens of the prompt.
        room: The limit of new tokens that is given; decoding stops after the first few.
        implementation: The attention that it is loaded with.
    """

    title: str
    architecture: str
    config: dict[str, Any]
    prompt: int
    room: int = TOKENS
    implementation: str = "sdpa"


CASES = {
    "vocabulary": Case(
        title="a prompt of 4,096 tokens, 152,064 tokens in the vocabulary",
        architecture="llama",
        config=NARROW | {"vocab_size": 152_064},
        prompt=4096,
    ),
    "room": Case(
        title="a short prompt with room for 32,768 new tokens, the same vocabulary",
        architecture="llama",
        config=NARROW | {"vocab_size": 152_064},
        prompt=8,
        room=32_768,
    ),
    "learned positions": Case(
        title="a prompt of 4,096 tokens, the same vocabulary, learned positions",
        architecture="gpt2",
        config={"n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 8192}
        | {"vocab_size": 152_064, "eos_token_id": None},
        prompt=4096,
    ),
    "window": Case(
        title="a prompt of 6,000 tokens, a window of 2,048, 16 heads on 2",
        architecture="mistral",
        config=GROUPED,
        prompt=6000,
    ),
    "soft cap": Case(
        title="the same with capped scores (Gemma 2, eager attention)",
        architecture="gemma2",
        config=GROUPED | {"query_pre_attn_scalar": 16},
        prompt=6000,
        implementation="eager",
    ),
}


def make_model(case: Case) -> PreTrainedModel:
    """Return the random model of a case."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        CONFIG_MAPPING[case.architecture](**case.config), attn_implementation=case.implementation
    ).eval()
    return model


def generated(model: PreTrainedModel, prompt: torch.Tensor, _room: int) -> list[int]:
    """Return the first tokens that ``generate`` adds; it makes room as it goes."""
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=TOKENS,
        pad_token_id=0,
    )
    tokens: list[int] = out[0, prompt.shape[1] :].tolist()
    return tokens


def decoded(model: PreTrainedModel, prompt: torch.Tensor, room: int) -> list[int]:
    """Return the first tokens that `AdaDecoder` adds."""
    stream = AdaDecoder(model).stream(prompt, room, policy="vanilla", eos_token_id=())
    return list(islice(stream, TOKENS))


WAYS: dict[str, Callable[[PreTrainedModel, torch.Tensor, int], list[int]]] = {
    "generate": generated,
    "AdaDecoder": decoded,
}


def bytes_held(which: str) -> int:
    """Return bytes of this process by the kernel: ``VmRSS`` now, ``VmHWM`` at most so far.

    What a process held is counted from its start; ``ru_maxrss`` of a new one can be its parent's.
    """
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    line = next(line for line in lines if line.startswith(which))
    return int(line.split()[1]) * 1024


def run_here(name: str, side: str) -> dict[str, Any]:
    """Decode a case in this process, and return its tokens and what it held."""
    torch.set_num_threads(1)
    case = CASES[name]
    model = make_model(case)
    generator = torch.Generator().manual_seed(0)
    vocabulary = case.config["vocab_size"]
    prompt = torch.randint(3, vocabulary, (1, case.prompt), generator=generator)
    before = bytes_held("VmRSS")
    tokens = WAYS[side](model, prompt, case.room)
    return {"tokens": tokens, "before": before, "peak": bytes_held("VmHWM")}


def run_apart(name: str, side: str) -> dict[str, Any]:
    """Decode a case in a process of its own; see `run_here`."""
    command = [sys.executable, "-m", "benchmarks.long_texts", "--run", name, side]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # this Python
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Return the bytes of both sides of a case, repeat by repeat, in turn.

    Raises:
        SystemExit: The texts differ.
    """
    case = CASES[name]
    rows: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(repeats):
        for side in SIDES:
            rows[side].append(run_apart(name, side))
    texts = {tuple(row["tokens"]) for found in rows.values() for row in found}
    if len(texts) > 1:
        raise SystemExit(f"{name}: the texts differ: {sorted(texts)}")
    peaks = {side: statistics.median(row["peak"] for row in found) for side, found in rows.items()}
    before = statistics.median(row["before"] for found in rows.values() for row in found)
    return {
        "title": case.title,
        "architecture": case.architecture,
        "before": before,
        "peak": peaks,
        "peaks": {side: [row["peak"] for row in found] for side, found in rows.items()},
        "ratio": peaks["AdaDecoder"] / peaks["generate"],
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure all cases, and write the bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="processes a case and a side")
    parser.add_argument("--run", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        print(json.dumps(run_here(*options.run)))
        return
    console = Console()
    table = make_table(
        f"peak GiB of a process, median of {options.repeats}",
        "case",
        "before the text",
        *SIDES,
        words=("case",),
    )
    found = {}
    for name in CASES:
        found[name] = row = measure(name, options.repeats)
        peaks = (f"{row['peak'][side] / GIB:.2f}" for side in SIDES)
        table.add_row(name, f"{row['before'] / GIB:.2f}", *peaks)
    console.print(table)
    write_result("long_texts", {"tokens": TOKENS, "repeats": options.repeats, "cases": found})


if __name__ == "__main__":
    main()
