"""A prompt that was run once, and from which several texts go on."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import SegmentedModel

Kept = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values by layer."""


@dataclass(kw_only=True)
class PrefilledPrompt:
    """What a model computed of a prompt: the logits after it, its keys and its values.

    To restore these takes as long as to copy them, and what is decoded then is the same bit for
    bit as after the prompt itself.

    Attributes:
        n_tokens: Tokens of the prompt.
        logits: The last layer's after the prompt, shape ``(V,)``.
        heads: The heads as they are for texts with this prompt; None where no text goes on.
    """

    n_tokens: int
    logits: torch.Tensor
    heads: ExitHeads | None = None
    _kept: Kept = field(default_factory=dict)

    def keep(self, parts: SegmentedModel) -> None:
        """Copy the keys and values of the prompt, which the model's buffers hold now."""
        self.logits = self.logits.clone()  # a captured graph writes over what it returned
        pairs = zip(parts.kv.keys, parts.kv.values, strict=True)
        self._kept = {
            layer: (keys[:, :, : self.n_tokens].clone(), values[:, :, : self.n_tokens].clone())
            for layer, (keys, values) in enumerate(pairs)
            if keys is not None and values is not None
        }

    def restore(self, parts: SegmentedModel, count: int | None = None) -> None:
        """Put them back into the model's buffers, over whatever text these hold.

        Args:
            parts: The model, with room for the prompt.
            count: How many positions to put back; all of them where None.
        """
        stop = self.n_tokens if count is None else count
        parts.kv.at(0, stop)
        for layer, (keys, values) in self._kept.items():
            parts.kv.write(layer, keys[:, :, :stop], values[:, :, :stop])
