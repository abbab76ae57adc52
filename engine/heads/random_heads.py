"""Exit heads with random weights, for models with random weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates


def random_heads(
    model: PreTrainedModel, depths: Sequence[int], seed: int = 0, *, gates: bool = False
) -> ExitHeads:
    """Return heads with random matrices T, each as costly as a trained one and always unsure.

    Args:
        model: The model.
        depths: Depths of the heads, in layers.
        seed: Seed of the matrices.
        gates: Whether there is a gate beside each head, of random weights too.

    Raises:
        HeadsError: A depth is none of this model.
    """
    weight = model.get_output_embeddings().weight
    width = weight.shape[1]
    generator = torch.Generator(weight.device).manual_seed(seed)

    def matrix() -> torch.Tensor:
        return torch.empty((width, width), device=weight.device, dtype=weight.dtype).normal_(
            0, 1 / math.sqrt(width), generator=generator
        )

    return ExitHeads(
        model,
        {depth: matrix() for depth in depths},
        gates=Gates.random(depths, width, seed) if gates and depths else None,
    )
