"""A few weights of a model, by which heads know the model that they were trained for."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

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


def samples_match(theirs: list[float], ours: list[float]) -> bool:
    """Return whether two lists of `N_SAMPLES` samples are one model's, whatever its dtypes."""
    return torch.allclose(
        torch.tensor(theirs, dtype=torch.float64),
        torch.tensor(ours, dtype=torch.float64),
        rtol=2e-2,
        atol=1e-4,
    )
