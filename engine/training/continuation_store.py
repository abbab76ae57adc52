"""Greedy continuations, kept on disk as they are made: a sealed line for each prompt.

A line that is torn, changed, or of another run or prompt does not count, and is made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.profiles.atomic_write import append_text, write_text
from adadecode.profiles.digest import SEAL, seal_of
from adadecode.profiles.input_file import read_bytes
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
    path = folder / GENERATIONS
    outputs, whole = _kept(path, run, decoder.parts.n_embeddings)
    outputs = {prompt: outputs[prompt] for prompt in range(len(prompts)) if prompt in outputs}
    advance(len(outputs))
    if not whole:
        write_text(path, "".join(_line(run, *one) for one in outputs.items()))
    for number, prompt in enumerate(prompts):
        if number in outputs:
            continue
        done = decoder.generate(prompt, max_new_tokens=max_new_tokens, policy=Policy.VANILLA)
        outputs[number] = done.tokens
        append_text(path, _line(run, number, done.tokens))
        advance(1)
    return [
        Continuation(prompt=prompt, output=outputs[number]) for number, prompt in enumerate(prompts)
    ]


def _kept(path: Path, run: str, n_tokens: int) -> tuple[dict[int, list[int]], bool]:
    """Return the outputs that are kept, by the number of their prompt.

    Args:
        path: The file; it may be missing.
        run: What tells the run from others.
        n_tokens: Token ids are below this.

    Returns:
        The outputs, and whether the file holds nothing else.
    """
    if not path.exists():
        return {}, True
    *lines, rest = read_bytes(path).split(b"\n")
    outputs: dict[int, list[int]] = {}
    for line in lines:
        try:
            found = json.loads(line)
            number, tokens = found["prompt"], found["output"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        is_output = isinstance(tokens, list) and all(
            type(token) is int and 0 <= token < n_tokens for token in tokens
        )
        if (
            type(number) is int
            and is_output
            and tokens
            and found.get(SEAL) == _seal(run, number, tokens)
        ):
            outputs[number] = tokens
    return outputs, not rest and len(outputs) == len(lines)


def _line(run: str, number: int, tokens: list[int]) -> str:
    line = {"prompt": number, "output": tokens, SEAL: _seal(run, number, tokens)}
    return f"{json.dumps(line)}\n"


def _seal(run: str, number: int, tokens: list[int]) -> str:
    """Return the digest of a line, which covers its run although the line does not repeat it."""
    return seal_of({"run": run, "prompt": number, "output": tokens}, "a continuation")
