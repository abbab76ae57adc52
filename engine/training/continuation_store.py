"""Greedy continuations, kept on disk as they are made: a sealed line for each prompt.

A line that is torn, changed, or of another run or prompt does not count, and is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.runtime.sealed_lines import SealedLines
from adadecode.sim.core.design import Policy

GENERATIONS = "generations.jsonl"

Advance = Callable[[int], None]
"""Called with how many units have just been done."""


def continuations(
    decoder: AdaDecoder,
    prompts: Sequence[torch.Tensor],
    folder: Path,
    *,
    run: str,
    max_new_tokens: int,
    advance: Advance,
) -> list[Continuation]:
    """Return greedy continuations of prompts, and keep each as a line of ``generations.jsonl``.

    Args:
        decoder: The model.
        prompts: Token ids, each (1, n).
        folder: Where the file is.
        run: What tells the run from others.
        max_new_tokens: Longest continuation.
        advance: Counts prompts.

    Raises:
        InputError: The file cannot be read or written.
    """
    lines = SealedLines(folder / GENERATIONS, run)
    kept = {
        one["prompt"]: one
        for one in lines.documents
        if _is_output(one, len(prompts), decoder.parts.n_embeddings)
    }
    lines.keep(list(kept.values()))
    advance(len(kept))
    for number, prompt in enumerate(prompts):
        if number in kept:
            continue
        done = decoder.generate(prompt, max_new_tokens=max_new_tokens, policy=Policy.VANILLA)
        kept[number] = {"prompt": number, "output": done.tokens}
        lines.add(kept[number])
        advance(1)
    return [
        Continuation(prompt=prompt, output=kept[number]["output"])
        for number, prompt in enumerate(prompts)
    ]


def _is_output(line: dict[str, Any], n_prompts: int, n_tokens: int) -> bool:
    """Return whether a line is what `continuations` writes, tokens and all."""
    if line.keys() != {"prompt", "output"} or not isinstance(line["output"], list):
        return False
    return bool(line["output"]) and all(
        type(number) is int and 0 <= number < count
        for number, count in (
            (line["prompt"], n_prompts),
            *((token, n_tokens) for token in line["output"]),
        )
    )
