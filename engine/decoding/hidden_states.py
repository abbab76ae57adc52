"""Hidden states of a model at the exit depths, along its own text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from adadecode.engine.model.segmented_model import SegmentedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Continuation:
    """A prompt and the model's greedy output.

    Attributes:
        prompt: Token ids, shape ``(1, n)``.
        output: The new tokens, the one that ended the text included.
    """

    prompt: torch.Tensor
    output: list[int]


def states_of(parts: SegmentedModel, text: Continuation, depths: Sequence[int]) -> torch.Tensor:
    """Return normed hidden states at the positions that predict the output.

    They come from one teacher-forced pass.

    Args:
        parts: The model. There must be room for the text.
        text: The prompt and the output.
        depths: D rising exit depths.

    Returns:
        Hidden states after the final norm, at the exit depths and the last one, shape
        ``(n_output, D + 1, d)``, on the CPU.
    """
    tokens = torch.cat([text.prompt, torch.tensor([text.output[:-1]], dtype=torch.long)], 1).to(
        parts.device
    )
    with parts.session():
        hidden = parts.embed(tokens, 0)
        states = []
        for first, last in pairwise((0, *depths, parts.n_layers)):
            hidden = parts.run(first, last, hidden, 0)
            states.append(parts.normed(hidden[0, text.prompt.shape[1] - 1 :]))
        return torch.stack(states, 1).cpu()
