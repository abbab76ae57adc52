"""Train the demo model: ``python -m engine.demo.train --out DIR [--steps N]``.

A Llama of 16 layers, trained from nothing on arithmetic word problems (three quarters of the tokens) and the Python standard
library (one quarter), with an early-exit loss (LayerSkip): each step also asks one random depth to predict the next token
through the model's own norm and LM head. A question is drawn at random and cannot be predicted, so its tokens weigh less than
its answer's. In the first steps some rows repeat a random span, which teaches the model to copy. Resumes from its last
checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engine.demo.corpus import BOS, EOS, PAD, VOCABULARY, problems, python_files, train_tokenizer

ROW, BATCH = 256, 4  # tokens a row; rows a step: three of arithmetic, one of code
PEAK_LR, WARMUP, DECAY = 2e-3, 100, 0.35  # learning rate, warm-up steps, last share of the steps in which it falls to zero
EXIT_WEIGHT, QUESTION_WEIGHT = 0.3, 0.2  # of the early-exit loss; of a question's tokens
COPYING = 0.15  # first share of the steps in which half the rows repeat a random span

Row = tuple[list[int], list[float]]
"""ROW + 1 token ids, and the weight of each in the loss."""


def demo_config() -> LlamaConfig:
    """The demo model's shape: 11.3M parameters, 16 layers."""
    return LlamaConfig(
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=16,
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
    """The demo tokenizer, trained on both domains."""
    arithmetic = [p.document for p in itertools.islice(problems(1, held_out=False), 6000)]
    code = [t[:8000] for t in python_files(held_out=False)]
    return PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(itertools.chain(arithmetic, code)), pad_token=PAD, bos_token=BOS, eos_token=EOS
    )


def arithmetic_rows(tokenizer: PreTrainedTokenizerFast, seed: int, *, held_out: bool, question_weight: float) -> Iterator[Row]:
    """Rows that start at the start of a problem."""
    stream = problems(seed, held_out=held_out)
    while True:
        row: list[int] = []
        weights: list[float] = []
        while len(row) <= ROW:
            problem = next(stream)
            asked = tokenizer(problem.prompt)["input_ids"]
            worked = tokenizer(f" {problem.working}\n", add_special_tokens=False)["input_ids"]
            row += [*asked, *worked, tokenizer.eos_token_id]
            weights += [question_weight] * len(asked) + [1.0] * (len(worked) + 1)
        yield row[: ROW + 1], weights[: ROW + 1]


def code_rows(tokenizer: PreTrainedTokenizerFast, seed: int, *, held_out: bool) -> Iterator[Row]:
    """Rows from random places of random files."""
    rng = random.Random(seed)
    files = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in python_files(held_out=held_out)]
    files = [f for f in files if len(f) > ROW + 1]
    lengths = [len(f) for f in files]
    while True:
        (tokens,) = rng.choices(files, lengths)
        start = rng.randrange(len(tokens) - ROW)
        row = tokens[start : start + ROW + 1]
        yield [tokenizer.bos_token_id, *row[:-1]] if start else row, [1.0] * (ROW + 1)


def copying_rows(vocabulary: int, seed: int) -> Iterator[Row]:
    """Rows that repeat one span of random tokens; only the repetitions count."""
    rng = random.Random(seed)
    while True:
        span = rng.choices(range(3, vocabulary), k=rng.randint(8, 80))
        repeats = ROW // len(span) + 1
        yield (span * repeats + span)[: ROW + 1], ([0.0] * len(span) + [1.0] * (ROW + 1))[: ROW + 1]


def learning_rate(step: int, steps: int) -> float:
    """Warm-up, flat, then linear to zero."""
    return PEAK_LR * min(1.0, (step + 1) / WARMUP, max(0.02, (steps - step) / (DECAY * steps)))


def losses(model: LlamaForCausalLM, rows: Sequence[Row], depth: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted next-token loss of the last layer, and of one early depth."""
    tokens, weights = torch.tensor([row for row, _ in rows]), torch.tensor([weight for _, weight in rows])
    out = model.model(input_ids=tokens[:, :-1], output_hidden_states=depth is not None, use_cache=False)
    target, weight = tokens[:, 1:].reshape(-1), weights[:, 1:].reshape(-1)

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        by_token = F.cross_entropy(model.lm_head(hidden).flatten(0, 1), target, reduction="none")
        return (by_token * weight).sum() / weight.sum()

    final = loss(out.last_hidden_state)
    return final, final if depth is None else loss(model.model.norm(out.hidden_states[depth]))


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Held-out next-token loss in nats, over 24 rows each: arithmetic whole, its answers alone, code."""
    model.eval()
    rows = {
        "arithmetic": arithmetic_rows(tokenizer, 7, held_out=True, question_weight=1.0),
        "arithmetic answers": arithmetic_rows(tokenizer, 7, held_out=True, question_weight=0.0),
        "code": code_rows(tokenizer, 7, held_out=True),
    }
    result = {name: float(losses(model, list(itertools.islice(stream, 24)), None)[0]) for name, stream in rows.items()}
    model.train()
    return result


def optimizer_of(model: LlamaForCausalLM) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    decayed = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def main() -> None:
    """Train, logging to ``train.jsonl``; the model is left in OUT in 16-bit floats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    if (args.out / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out)
    else:
        tokenizer = make_tokenizer()
        tokenizer.save_pretrained(args.out)
    torch.manual_seed(args.seed)
    model = LlamaForCausalLM(demo_config())
    optimizer = optimizer_of(model)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    arithmetic = arithmetic_rows(tokenizer, 100 + first, held_out=False, question_weight=QUESTION_WEIGHT)
    code = code_rows(tokenizer, 200 + first, held_out=False)
    copying = copying_rows(VOCABULARY, 300 + first)
    depths = random.Random(args.seed)
    layers = model.config.num_hidden_layers
    started = time.monotonic()
    for step in range(first, args.steps):
        mix = (arithmetic, copying, copying, code) if step < COPYING * args.steps else (arithmetic, arithmetic, arithmetic, code)
        rows = [next(stream) for stream in mix]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps)
        depth = depths.randrange(1, layers)
        final, early = losses(model, rows, depth)
        optimizer.zero_grad()
        (final + EXIT_WEIGHT * early).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        last = step + 1 == args.steps
        if step % 40 == 0 or last:
            entry: dict[str, Any] = {
                "step": step,
                "loss": final.item(),
                "early": early.item(),
                "depth": depth,
                "tokens": (step + 1) * ROW * BATCH,
                "seconds": round(time.monotonic() - started),
            }
            if step % 400 == 0 or last:
                entry |= {"held_out": held_out_loss(model, tokenizer)}
            print(json.dumps(entry), flush=True)
            with (args.out / "train.jsonl").open("a") as log:
                log.write(json.dumps(entry) + "\n")
        if (step + 1) % 400 == 0:
            partial = checkpoint.with_suffix(".part")
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, partial)
            partial.replace(checkpoint)
    model.to(torch.float16).save_pretrained(args.out)


if __name__ == "__main__":
    main()
