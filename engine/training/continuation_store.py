"""Greedy continuations, kept on disk as they are made: a sealed line for each prompt.

A line says which prompt it continues by a digest of its tokens, and its seal covers the model and
what else shapes a text. So other runs of the same model use it again, whatever their heads are,
and a line that is torn, changed, or of another model does not count, and is made again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation, states_of
from adadecode.engine.runtime.sealed_lines import SealedLines
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.run_folder import CONTINUATIONS
from adadecode.profiles.digest import canonical_json, sha256_hex
from adadecode.sim.core.design import Policy

OWN_SHARE = 0.9
"""The share of a text's tokens that the model must give again when it reads the text."""

Advance = Callable[[int], None]
"""Called with how many units have just been done."""


class ContinuationStore:
    """The continuations of one model, kept in a folder.

    Args:
        folder: Where the file is.
        owner: What tells the model, and what else shapes a text, from others.
        earlier: The folder of an earlier run whose continuations count too.

    Raises:
        InputError: A file cannot be read.
    """

    def __init__(self, folder: Path, owner: str, earlier: Path | None = None) -> None:
        self.lines = SealedLines(folder / CONTINUATIONS, owner)
        self.known: list[dict[str, Any]] = []
        if earlier is not None:
            self.known = SealedLines(earlier / CONTINUATIONS, owner).documents

    def continuations(
        self,
        decoder: AdaDecoder,
        prompts: Sequence[torch.Tensor],
        *,
        max_new_tokens: int,
        batch: int,
        advance: Advance,
    ) -> list[Continuation]:
        """Return greedy continuations of prompts, and keep each as a line.

        Prompts of like length that have no continuation yet are continued together. A run that was
        stopped between two batches goes on to the same texts: batches are made in order.

        Args:
            decoder: The model.
            prompts: Token ids, each (1, n), no two the same.
            max_new_tokens: Longest continuation.
            batch: Prompts in a batch.
            advance: Counts prompts.

        Raises:
            InputError: The file cannot be written.
        """
        names = [prompt_digest(prompt) for prompt in prompts]
        outputs = self._kept(set(names), decoder.parts.n_embeddings)
        advance(len(outputs))
        made = BatchedGeneration(decoder.parts.model, decoder.eos)
        rest = [prompt for name, prompt in zip(names, prompts, strict=True) if name not in outputs]
        for group in _groups(rest, batch):
            for prompt, output in zip(
                group, _continued(decoder, made, group, max_new_tokens), strict=True
            ):
                name = prompt_digest(prompt)
                outputs[name] = output
                self.lines.add({"prompt": name, "output": output})
            advance(len(group))
        return [
            Continuation(prompt=prompt, output=outputs[name])
            for name, prompt in zip(names, prompts, strict=True)
        ]

    def missing(self, prompts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the prompts (1, n) that have no continuation yet, by rising length."""
        there = {one.get("prompt") for one in (*self.known, *self.lines.documents)}
        return _by_length(prompt for prompt in prompts if prompt_digest(prompt) not in there)

    def _kept(self, names: set[str], n_tokens: int) -> dict[str, list[int]]:
        """Return the outputs that are known already, and let the file hold them and no others."""
        kept = {
            one["prompt"]: one
            for one in (*self.known, *self.lines.documents)
            if _is_output(one, names, n_tokens)
        }
        self.lines.keep(list(kept.values()))
        return {name: one["output"] for name, one in kept.items()}


def prompt_digest(prompt: torch.Tensor) -> str:
    """Return the digest of the tokens (1, n) of a prompt."""
    return sha256_hex(canonical_json(prompt[0].tolist(), "the tokens of a prompt"))


def _by_length(prompts: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return prompts (1, n) by rising length, those of one length in their order."""
    return sorted(prompts, key=lambda prompt: prompt.shape[1])


def _groups(prompts: Iterable[torch.Tensor], size: int) -> list[list[torch.Tensor]]:
    """Return prompts in groups of at most ``size``, by rising length."""
    order = _by_length(prompts)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _continued(
    decoder: AdaDecoder,
    made: BatchedGeneration,
    prompts: Sequence[torch.Tensor],
    max_new_tokens: int,
) -> list[list[int]]:
    """Return a continuation of each prompt: in one batch where that gives the model's own texts.

    The shortest prompt has the most padding. Where the model does not give its text again, the
    prompts are continued one by one.
    """
    outputs = made.continued(prompts, max_new_tokens)
    if own_share(decoder, Continuation(prompt=prompts[0], output=outputs[0])) >= OWN_SHARE:
        return outputs
    warnings.warn(
        f"{decoder.parts.name} gives other texts in a batch than alone: its prompts are continued "
        "one by one, which takes longer",
        stacklevel=2,
    )
    return [
        decoder.generate(prompt, max_new_tokens=max_new_tokens, policy=Policy.VANILLA).tokens
        for prompt in prompts
    ]


@torch.inference_mode()
def own_share(decoder: AdaDecoder, text: Continuation) -> float:
    """Return the share of the output's tokens that are the model's own choice after the others."""
    parts = decoder.parts
    final = states_of(parts, text, ())[:, -1].to(parts.device)
    chosen = parts.unembed(final).argmax(-1).tolist()
    same = sum(one == other for one, other in zip(chosen, text.output, strict=True))
    return same / len(text.output)


def _is_output(line: dict[str, Any], names: set[str], n_tokens: int) -> bool:
    """Return whether a line is what is written here, tokens and all, of one of these prompts."""
    if line.keys() != {"prompt", "output"} or not isinstance(line["output"], list):
        return False
    if not isinstance(line["prompt"], str) or line["prompt"] not in names:
        return False
    return bool(line["output"]) and all(
        type(token) is int and 0 <= token < n_tokens for token in line["output"]
    )
