"""Train the demo model: ``python -m engine.demo.train --out DIR [--steps N]``.

A Llama of 16 layers, trained from nothing on arithmetic word problems (three quarters of the tokens) and the Python standard
library (one quarter), with an early-exit loss (LayerSkip): each step also asks one random depth to predict the next token
through the model's own norm and LM head. Resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engine.demo.corpus import BOS, EOS, PAD, VOCABULARY, problems, python_files, train_tokenizer

ROW, BATCH = 256, 8  # tokens a row, rows a step
PEAK_LR, WARMUP, DECAY = 2e-3, 60, 0.35  # learning rate, warm-up steps, last share of the steps in which it falls to zero
EXIT_WEIGHT = 0.2
ARITHMETIC_ROWS = 6  # of BATCH


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


def arithmetic_rows(tokenizer: PreTrainedTokenizerFast, seed: int, *, held_out: bool) -> Iterator[list[int]]:
    """Rows of ROW + 1 tokens, each starting at the start of a problem."""
    stream = problems(seed, held_out=held_out)
    while True:
        row: list[int] = []
        while len(row) <= ROW:
            row += [*tokenizer(next(stream).document)["input_ids"], tokenizer.eos_token_id]
        yield row[: ROW + 1]


def code_rows(tokenizer: PreTrainedTokenizerFast, seed: int, *, held_out: bool) -> Iterator[list[int]]:
    """Rows of ROW + 1 tokens from random places of random files."""
    rng = random.Random(seed)
    files = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in python_files(held_out=held_out)]
    files = [f for f in files if len(f) > ROW + 1]
    weights = [len(f) for f in files]
    while True:
        (tokens,) = rng.choices(files, weights)
        start = rng.randrange(len(tokens) - ROW)
        row = tokens[start : start + ROW + 1]
        yield [tokenizer.bos_token_id, *row[:-1]] if start else row


def learning_rate(step: int, steps: int) -> float:
    """Warm-up, flat, then linear to zero."""
    return PEAK_LR * min(1.0, (step + 1) / WARMUP, max(0.02, (steps - step) / (DECAY * steps)))


def losses(model: LlamaForCausalLM, rows: torch.Tensor, depth: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token loss of the last layer and of one early depth. rows (batch, ROW + 1) token ids."""
    out = model.model(input_ids=rows[:, :-1], output_hidden_states=depth is not None, use_cache=False)
    target = rows[:, 1:].reshape(-1)
    final = F.cross_entropy(model.lm_head(out.last_hidden_state).flatten(0, 1), target)
    if depth is None:
        return final, final
    early = F.cross_entropy(model.lm_head(model.model.norm(out.hidden_states[depth])).flatten(0, 1), target)
    return final, early


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Held-out next-token loss in nats, by domain, over 24 rows each."""
    model.eval()
    result = {}
    for name, make in (("arithmetic", arithmetic_rows), ("code", code_rows)):
        rows = torch.tensor(list(itertools.islice(make(tokenizer, 7, held_out=True), 24)))
        result[name] = float(losses(model, rows, None)[0])
    model.train()
    return result


def main() -> None:
    """Train, logging to ``train.jsonl``; the model is left in OUT in 16-bit floats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
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
    decayed = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim != 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], betas=(0.9, 0.95))
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    arithmetic = arithmetic_rows(tokenizer, 100 + first, held_out=False)
    code = code_rows(tokenizer, 200 + first, held_out=False)
    depths = random.Random(args.seed)
    layers = model.config.num_hidden_layers
    started = time.monotonic()
    for step in range(first, args.steps):
        rows = torch.tensor([next(arithmetic) for _ in range(ARITHMETIC_ROWS)] + [next(code) for _ in range(BATCH - ARITHMETIC_ROWS)])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps)
        depth = depths.randrange(1, layers)
        final, early = losses(model, rows, depth)
        optimizer.zero_grad()
        (final + EXIT_WEIGHT * early).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        last = step + 1 == args.steps
        if step % 20 == 0 or last:
            entry: dict[str, Any] = {
                "step": step,
                "loss": final.item(),
                "early": early.item(),
                "depth": depth,
                "tokens": (step + 1) * ROW * BATCH,
                "seconds": round(time.monotonic() - started),
            }
            if step % 200 == 0 or last:
                entry |= {"held_out": held_out_loss(model, tokenizer)}
            print(json.dumps(entry), flush=True)
            with (args.out / "train.jsonl").open("a") as log:
                log.write(json.dumps(entry) + "\n")
        if (step + 1) % 200 == 0:
            partial = checkpoint.with_suffix(".part")
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, partial)
            partial.replace(checkpoint)
    model.to(torch.float16).save_pretrained(args.out)


if __name__ == "__main__":
    main()
