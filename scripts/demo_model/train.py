"""Train the demo model.

    python -m scripts.demo_model.train --out DIR [--steps N]

A Llama is trained from nothing on arithmetic word problems (three quarters of the rows) and the
Python standard library (one quarter), in two stages:

1. Four layers alone, which learn to copy in minutes where sixteen take hours, helped by rows that
   repeat a random span.
2. Twelve layers are put between and behind them, each adding nothing at first, and all sixteen are
   trained with an early-exit loss (LayerSkip): in each step one random depth also predicts the next
   token through the model's own norm and LM head.

A question is drawn at random and cannot be predicted, so its tokens weigh less than its answer's.
A call with the same folder resumes from the last checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adadecode.profiles.atomic_write import append_text, write_stream
from adadecode.sim.cli.errors import exiting_on_error
from scripts.demo_model.corpus import (
    BOS,
    EOS,
    PAD,
    VOCABULARY,
    problems,
    python_files,
    train_tokenizer,
)

ROW = 256
"""Tokens of a row."""
SHALLOW, SPACING = 4, 2
"""Layers of the first stage, and their distance in the second: they become layers 0, 2, 4, 6."""
PEAK_LR, WARMUP, DECAY = 2e-3, 100, 0.5
"""Learning rate, warm-up steps of a stage, last share of the second in which it falls to 0."""
EXIT_WEIGHT, QUESTION_WEIGHT = 0.3, 0.2
"""Weights of the early-exit loss, and of a question's tokens."""
LOG_EVERY, SAVE_EVERY = 50, 300
"""Steps between log entries, and between held-out losses and checkpoints."""
HELD_OUT_ROWS = 24
"""Rows of each kind in a held-out loss."""

Row = tuple[list[int], list[float]]
"""ROW + 1 token ids, and the weight of each in the loss."""


def demo_config(layers: int = 16) -> LlamaConfig:
    """Return the demo model's shape: 11.3M parameters with 16 layers."""
    return LlamaConfig(
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Train the demo tokenizer on both domains."""
    arithmetic = [p.document for p in itertools.islice(problems(1, held_out=False), 6000)]
    code = [t[:8000] for t in python_files(held_out=False)]
    return PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(itertools.chain(arithmetic, code)),
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
    )


def arithmetic_rows(
    tokenizer: PreTrainedTokenizerFast, seed: int, *, held_out: bool, question_weight: float
) -> Iterator[Row]:
    """Yield rows that begin with a problem."""
    stream = problems(seed, held_out=held_out)
    while True:
        row: list[int] = []
        weights: list[float] = []
        while len(row) <= ROW:
            problem = next(stream)
            question = tokenizer(problem.prompt)["input_ids"]
            answer = tokenizer(f" {problem.working}\n", add_special_tokens=False)["input_ids"]
            row += [*question, *answer, tokenizer.eos_token_id]
            weights += [question_weight] * len(question) + [1.0] * (len(answer) + 1)
        yield row[: ROW + 1], weights[: ROW + 1]


def code_rows(tokenizer: PreTrainedTokenizerFast, seed: int, *, held_out: bool) -> Iterator[Row]:
    """Yield rows from random places of random files."""
    rng = random.Random(seed)
    files = [
        [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        for text in python_files(held_out=held_out)
    ]
    files = [f for f in files if len(f) > ROW + 1]
    lengths = [len(f) for f in files]
    while True:
        (tokens,) = rng.choices(files, lengths)
        start = rng.randrange(len(tokens) - ROW)
        row = tokens[start : start + ROW + 1]
        yield [tokenizer.bos_token_id, *row[:-1]] if start else row, [1.0] * (ROW + 1)


def copying_rows(vocabulary: int, seed: int) -> Iterator[Row]:
    """Yield rows that repeat one span of random tokens; only the repetitions count."""
    rng = random.Random(seed)
    while True:
        span = rng.choices(range(3, vocabulary), k=rng.randint(8, 32))
        repeats = ROW // len(span) + 1
        yield (span * repeats + span)[: ROW + 1], ([0.0] * len(span) + [1.0] * (ROW + 1))[: ROW + 1]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the training.

    Attributes:
        layers: Of the model.
        steps: Of the optimizer.
        arithmetic: Rows of word problems in a step.
        code: Rows of code in a step.
        copying: Rows in a step that repeat a span, in the first half of the stage; word problems
            take their place afterwards.
    """

    layers: int
    steps: int
    arithmetic: int
    code: int
    copying: int

    def learning_rate(self, step: int) -> float:
        """Return the learning rate: warm-up, flat, and for the full model linear to zero."""
        left = (self.steps - step) / (DECAY * self.steps) if self.layers > SHALLOW else 1.0
        return PEAK_LR * min(1.0, (step + 1) / WARMUP, max(0.02, left))


def stages(shallow_steps: int, steps: int) -> tuple[Stage, Stage]:
    """Return the two stages of training."""
    return (
        Stage(layers=SHALLOW, steps=shallow_steps, arithmetic=5, code=2, copying=1),
        Stage(layers=demo_config().num_hidden_layers, steps=steps, arithmetic=3, code=1, copying=0),
    )


@torch.no_grad()
def grown(small: LlamaForCausalLM) -> LlamaForCausalLM:
    """Return the full model that computes what ``small`` does.

    The layers of ``small`` are at every second place, and the others add nothing.
    """
    model = LlamaForCausalLM(demo_config())
    model.model.embed_tokens.load_state_dict(small.model.embed_tokens.state_dict())
    model.model.norm.load_state_dict(small.model.norm.state_dict())
    taken = {SPACING * i: layer for i, layer in enumerate(small.model.layers)}
    for index, layer in enumerate(model.model.layers):
        if index in taken:
            layer.load_state_dict(taken[index].state_dict())
        else:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return model


def losses(
    model: LlamaForCausalLM, rows: Sequence[Row], depth: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted next-token loss of the last layer, and of one early depth."""
    tokens = torch.tensor([row for row, _ in rows])
    weights = torch.tensor([weight for _, weight in rows])
    out = model.model(
        input_ids=tokens[:, :-1], output_hidden_states=depth is not None, use_cache=False
    )
    target, weight = tokens[:, 1:].reshape(-1), weights[:, 1:].reshape(-1)

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        by_token = F.cross_entropy(model.lm_head(hidden).flatten(0, 1), target, reduction="none")
        return (by_token * weight).sum() / weight.sum()

    final = loss(out.last_hidden_state)
    return final, final if depth is None else loss(model.model.norm(out.hidden_states[depth]))


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Return held-out next-token losses in nats: arithmetic, its answers alone, and code."""
    model.eval()
    rows = {
        "arithmetic": arithmetic_rows(tokenizer, 7, held_out=True, question_weight=1.0),
        "arithmetic answers": arithmetic_rows(tokenizer, 7, held_out=True, question_weight=0.0),
        "code": code_rows(tokenizer, 7, held_out=True),
    }
    result = {
        name: float(losses(model, list(itertools.islice(stream, HELD_OUT_ROWS)), None)[0])
        for name, stream in rows.items()
    }
    model.train()
    return result


def optimizer_of(model: LlamaForCausalLM) -> torch.optim.AdamW:
    """Return an AdamW that decays matrices only."""
    decayed = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def main() -> None:
    """Train, log to ``train.jsonl``, and save the model in the folder in 16-bit floats."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the model and its log")
    parser.add_argument(
        "--shallow-steps", type=int, default=2700, help="steps of the four layers [%(default)s]"
    )
    parser.add_argument(
        "--steps", type=int, default=1600, help="steps of the full model [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=0, help="[%(default)s]")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if (args.out / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out)
    else:
        tokenizer = make_tokenizer()
        tokenizer.save_pretrained(args.out)
    torch.manual_seed(args.seed)
    checkpoint = args.out / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    model = LlamaForCausalLM(demo_config(SHALLOW))
    tokens = 0
    for stage in stages(args.shallow_steps, args.steps):
        if state is not None and state["layers"] > stage.layers:
            continue
        if stage.layers > SHALLOW:
            model = grown(model)
        model, tokens = train(model, tokenizer, stage, args.out, args.seed, tokens, state)
        state = None
    model.to(torch.float16).save_pretrained(args.out)


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    stage: Stage,
    out: Path,
    seed: int,
    tokens: int,
    state: dict[str, Any] | None,
) -> tuple[LlamaForCausalLM, int]:
    """Train one stage.

    Args:
        model: Of the stage's layers.
        tokenizer: Of the demo model.
        stage: What to train.
        out: Folder of the log and the checkpoint.
        seed: Of the depths that the early-exit loss draws.
        tokens: Seen in earlier stages.
        state: A checkpoint of this stage to resume from.

    Returns:
        The model and the tokens seen so far.
    """
    optimizer = optimizer_of(model)
    first = 0
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, tokens = state["step"], state["tokens"]
    offset = 1000 * stage.layers + first  # so that no part of the training sees another's text
    batches = _batches(tokenizer, stage, offset, first)
    depths = random.Random(seed + offset)
    started = time.monotonic()
    for step in range(first, stage.steps):
        rows = next(batches)
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate(step)
        depth = depths.randrange(1, stage.layers) if stage.layers > SHALLOW else None
        final, early = losses(model, rows, depth)
        optimizer.zero_grad()
        (final if depth is None else final + EXIT_WEIGHT * early).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        tokens += ROW * len(rows)
        last = step + 1 == stage.steps
        progress: dict[str, Any] = {
            "layers": stage.layers,
            "step": step,
            "loss": final.item(),
            "early": early.item(),
            "depth": depth,
            "tokens": tokens,
            "seconds": round(time.monotonic() - started),
        }
        if step % SAVE_EVERY == 0 or last:
            progress |= {"held_out": held_out_loss(model, tokenizer)}
        if step % LOG_EVERY == 0 or last:
            _log(progress, out / "train.jsonl")
        if (step + 1) % SAVE_EVERY == 0 or last:
            checkpoint = {
                "layers": stage.layers,
                "step": step + 1,
                "tokens": tokens,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            write_stream(out / "checkpoint.pt", partial(torch.save, checkpoint))
    return model, tokens


def _batches(
    tokenizer: PreTrainedTokenizerFast, stage: Stage, offset: int, first: int
) -> Iterator[list[Row]]:
    """Yield the rows of each step of a stage, from step ``first`` on."""
    arithmetic = arithmetic_rows(
        tokenizer, 100_000 + offset, held_out=False, question_weight=QUESTION_WEIGHT
    )
    code = code_rows(tokenizer, 200_000 + offset, held_out=False)
    copying = copying_rows(VOCABULARY, 300_000 + offset)
    for step in itertools.count(first):
        n_copying = stage.copying if 2 * step < stage.steps else 0
        rows = list(itertools.islice(arithmetic, stage.arithmetic + stage.copying - n_copying))
        rows += [*itertools.islice(code, stage.code), *itertools.islice(copying, n_copying)]
        yield rows


def _log(entry: dict[str, Any], path: Path) -> None:
    """Print an entry, and append it to the log."""
    line = json.dumps(entry)
    print(line, flush=True)
    append_text(path, line + "\n")


if __name__ == "__main__":
    with exiting_on_error():
        main()
