"""Compare each exit head of SmolLM2 with the last layer, on the paper's own kinds of text.

By depth and data set: how often both have the same token, the divergence KL(last layer || head) in
nats, and how many positions a head is sure at, with the share of those where it is right. The texts
are the model's own greedy answers in FP32, generated in batches.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adadecode.engine import ExitHeads
from adadecode.engine.decoding.hidden_states import Continuation, states_of
from adadecode.engine.demo import SMOLLM2
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.model.end_tokens import own_end_tokens
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.kl_divergence import Teacher, Vocabulary, divergence_stats
from benchmarks.harness import make_table, write_result
from benchmarks.real_prompts import SETS, encoded

GAMMAS = (0.5, 0.75, 0.9)
_BATCH = 8
"""Prompts that are continued at once."""
_ROWS = 128
"""Positions at a time: logits of a wide vocabulary take room."""


def measure_heads(
    parts: SegmentedModel, heads: ExitHeads, texts: Sequence[Continuation]
) -> list[dict[str, Any]]:
    """Return a row for each head: agreement, divergence, and how sure and how right it is.

    The first token of a text is left out, which no head drafts.

    Args:
        parts: The model.
        heads: Its heads.
        texts: Prompts and the model's own outputs.
    """
    states = torch.cat([states_of(parts, text, heads.depths)[1:] for text in texts])
    vocabulary = Vocabulary.of(parts)
    found: dict[int, list[torch.Tensor]] = {depth: [] for depth in heads.depths}
    for rows in states.split(_ROWS):
        teacher = Teacher(vocabulary, rows[:, -1])
        for column, depth in enumerate(heads.depths):
            matrix = heads.transforms[depth]
            state = rows[:, column]
            student = state if matrix is None else state @ matrix.to(state).T
            stats = divergence_stats(teacher, student)
            sure = parts.finish(parts.lm_head(student)).float().softmax(-1).amax(-1)
            found[depth].append(torch.stack([stats.kl, stats.agree.to(sure), sure]))
    return [_row(depth, torch.cat(columns, 1)) for depth, columns in found.items()]


def _row(depth: int, measured: torch.Tensor) -> dict[str, Any]:
    """Return the averages of a head over all positions, shape (3, n)."""
    kl, agree, sure = measured.double()
    exits = {str(gamma): sure > gamma for gamma in GAMMAS}
    return {
        "depth": depth,
        "positions": measured.shape[1],
        "agreement": float(agree.mean()),
        "kl": float(kl.mean()),
        "exits": {gamma: float(exit_.double().mean()) for gamma, exit_ in exits.items()},
        "right": {
            gamma: float(agree[exit_].mean()) if exit_.any() else None
            for gamma, exit_ in exits.items()
        },
    }


def continue_prompts(
    generation: BatchedGeneration, prompts: Sequence[torch.Tensor], tokens: int
) -> list[Continuation]:
    """Return the model's own answers, in batches of prompts of like length."""
    ordered = sorted(prompts, key=lambda ids: ids.shape[1])
    texts = []
    for start in range(0, len(ordered), _BATCH):
        batch = ordered[start : start + _BATCH]
        outputs = generation.continued(batch, tokens)
        texts += [
            Continuation(prompt=ids, output=output)
            for ids, output in zip(batch, outputs, strict=True)
        ]
    return texts


def agreement_table(name: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Return the rows of a data set as a table."""
    table = make_table(
        f"{name}, {rows[0]['positions']:,} positions",
        *("depth", "agreement", "KL", *(f"exits at {gamma} (right)" for gamma in GAMMAS)),
    )
    for row in rows:
        right = {gamma: "none" if r is None else f"{r:.0%}" for gamma, r in row["right"].items()}
        table.add_row(
            str(row["depth"]),
            f"{row['agreement']:.1%}",
            f"{row['kl']:.3f}",
            *(f"{share:.0%} ({right[gamma]})" for gamma, share in row["exits"].items()),
        )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print and keep what the heads know."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument(
        "--heads", default=str(SMOLLM2.heads), help="a folder of heads [those that come with it]"
    )
    parser.add_argument("--prompts", type=int, default=16, help="of each data set [%(default)s]")
    parser.add_argument("--tokens", type=int, default=128, help="of each answer [%(default)s]")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, tokenizer = load_model(options.model, "float32", "cpu")
    heads = ExitHeads.load(options.heads, model)
    parts = SegmentedModel(model)
    vocabulary = len(model.get_output_embeddings().weight)
    generation = BatchedGeneration(model, own_end_tokens(model, vocabulary))
    results = {}
    for name in SETS:
        prompts = encoded(name, tokenizer, options.prompts)
        with torch.inference_mode():
            parts.allocate(max(ids.shape[1] for ids in prompts) + options.tokens)
            texts = continue_prompts(generation, prompts, options.tokens)
            results[name] = measure_heads(parts, heads, texts)
        Console().print(agreement_table(name, results[name]))
    write_result(
        "agreement",
        {
            "model": options.model,
            "prompts": options.prompts,
            "tokens": options.tokens,
            "sets": results,
        },
    )


if __name__ == "__main__":
    main()
