"""Greedy continuations of several prompts at once, by ``generate`` of ``transformers``.

Prompts are padded on the left, and the padding is masked. After every few tokens the texts that
have ended leave the batch, cache and all, so nothing is computed for them. A batch rounds otherwise
than a single text, so a near tie may fall to the other token: a text is that of the model all the
same, and heads learn from it as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel

from adadecode.engine.baselines.generate import plain_model, quiet

STRIDE = 16
"""New tokens between two looks at which texts have ended."""


class BatchedGeneration:
    """Continues prompts of a model in batches.

    Args:
        model: The model.
        eos: Tokens that end a text.
    """

    def __init__(self, model: PreTrainedModel, eos: Collection[int]) -> None:
        self.device, self.eos = model.device, frozenset(eos)
        self.model = plain_model(model, self.eos)

    @torch.inference_mode()
    def continued(self, prompts: Sequence[torch.Tensor], max_new_tokens: int) -> list[list[int]]:
        """Return the greedy continuation of each prompt, the token that ended it included.

        Args:
            prompts: Token ids, each (1, n).
            max_new_tokens: Longest continuation.
        """
        outputs: list[list[int]] = [[] for _ in prompts]
        ids, mask = (one.to(self.device) for one in _padded(prompts))
        cache = DynamicCache(config=self.model.config.get_text_config(decoder=True))
        going = list(range(len(prompts)))
        while going:
            count = min(STRIDE, max_new_tokens - len(outputs[going[0]]))
            longer = self._longer(ids, mask, cache, count)
            new = longer[:, ids.shape[1] :]
            for row, tokens in zip(going, new.tolist(), strict=True):
                outputs[row] += self._until_end(tokens)
            kept = [
                at
                for at, row in enumerate(going)
                if outputs[row][-1] not in self.eos and len(outputs[row]) < max_new_tokens
            ]
            ids, mask = longer[kept], F.pad(mask[kept], (0, new.shape[1]), value=1)
            if 0 < len(kept) < len(going):
                cache.batch_select_indices(torch.tensor(kept, device=self.device))
            going = [going[at] for at in kept]
        return outputs

    def _longer(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache, count: int
    ) -> torch.Tensor:
        """Return the tokens (b, n) with up to ``count`` more; the cache holds all but the last."""
        with quiet.needed():
            found: torch.Tensor = self.model.generate(
                ids,
                attention_mask=mask,
                past_key_values=cache,
                do_sample=False,
                max_new_tokens=count,
            )
        return found

    def _until_end(self, tokens: list[int]) -> list[int]:
        """Return the tokens up to the first that ends a text."""
        ends = (at for at, token in enumerate(tokens) if token in self.eos)
        return tokens[: next(ends, len(tokens)) + 1]


def _padded(prompts: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens and mask (b, n) of prompts that are padded on the left by token 0."""
    longest = max(prompt.shape[1] for prompt in prompts)
    rows = [F.pad(prompt[0], (longest - prompt.shape[1], 0)) for prompt in prompts]
    masks = [
        F.pad(torch.ones_like(prompt[0]), (longest - prompt.shape[1], 0)) for prompt in prompts
    ]
    return torch.stack(rows), torch.stack(masks)
