"""A few weights of a model, by which heads know the model that they were trained for."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Any

import torch
from transformers import PreTrainedModel

from adadecode.engine.runtime.distributed import whole

N_SAMPLES = 32


def lm_head_samples(model: PreTrainedModel) -> list[float]:
    """Return a few weights of the model's LM head, evenly spaced.

    They differ between models, and do not depend on the dtype.
    """
    weight = whole(model.get_output_embeddings().weight.detach()).flatten()
    picked = torch.linspace(0, weight.numel() - 1, N_SAMPLES, dtype=torch.float64).long()
    return [float(x) for x in weight[picked.to(weight.device)].float().cpu()]


def body_samples(model: PreTrainedModel) -> list[float]:
    """Return a few weights from all over the model, evenly spaced in the order of its parameters.

    Models may share an LM head and nothing else. A model with packed weights gives none: they
    cannot be compared with those that the heads were trained on.
    """
    if getattr(model, "is_quantized", False):
        return []
    weights = list(model.parameters())
    ends = list(accumulate(weight.numel() for weight in weights))
    spots = [k * (ends[-1] - 1) // (N_SAMPLES - 1) for k in range(N_SAMPLES)]
    owners = [bisect_right(ends, spot) for spot in spots]
    return [
        float(whole(weights[i].detach()).flatten()[spot - ends[i]].float())
        for i, spot in zip(owners, spots, strict=True)
    ]


def samples_match(stored: Any, own: list[float], name: str) -> bool:
    """Return whether stored samples are the model's own, whatever the dtypes of the two.

    Args:
        stored: What a file holds.
        own: Samples of the model.
        name: What the file calls them, for the message.

    Raises:
        ValueError: ``stored`` is no list of samples.
    """
    if not (
        isinstance(stored, list)
        and len(stored) == N_SAMPLES
        and all(isinstance(x, (int, float)) and math.isfinite(x) for x in stored)
    ):
        raise ValueError(f"wanted {N_SAMPLES} numbers as {name}")
    theirs, ours = (torch.tensor(numbers, dtype=torch.float64) for numbers in (stored, own))
    return torch.allclose(theirs, ours, rtol=2e-2, atol=1e-4)
