"""Run a model over its own text and keep the hidden states at the exit depths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from adadecode.engine.model.segmented_model import SegmentedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Continuation:
    """A prompt, ids (1, n), and the model's greedy output, EOS included."""

    prompt: torch.Tensor
    output: list[int]


def states_of(parts: SegmentedModel, text: Continuation, depths: Sequence[int]) -> torch.Tensor:
    """Normed hidden states (n_output, D + 1, d) at the positions that predict the output, in one teacher-forced pass."""
    tokens = torch.cat([text.prompt, torch.tensor([text.output[:-1]], dtype=torch.long)], 1).to(
        parts.device
    )
    with parts.session():
        hidden = parts.embed(tokens, 0)
        found = []
        for first, last in pairwise((0, *depths, parts.n_layers)):
            hidden = parts.run(first, last, hidden, 0)
            found.append(parts.normed(hidden[0, text.prompt.shape[1] - 1 :]))
        return torch.stack(found, 1).cpu()
