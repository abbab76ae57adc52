"""Rows of an LM head, in its own format or in int8, for heads of another form than the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import copy

import torch
from torch import nn
from torch.nn import functional as F

from adadecode.engine.heads.int8 import Int8Matrix
from adadecode.engine.model import few_rows
from adadecode.engine.runtime.distributed import whole
from adadecode.profiles.errors import HeadsError


class HeadRows:
    """Rows of an LM head, gathered once.

    Args:
        head: The LM head.
        tokens: Rising ids of the rows; None for all of them.
        int8: Whether the rows are quantised.
        extends: Whether rows may be added (`beside`).

    Raises:
        HeadsError: The LM head is no plain matrix.
        LookupError: No int8 product of the device works.
    """

    def __init__(
        self, head: nn.Module, tokens: Sequence[int] | None, *, int8: bool, extends: bool = False
    ) -> None:
        weight, bias = _plain(head)
        self.vocabulary = len(weight)
        self._source = (weight, bias) if extends else None
        self._take(weight, bias, tokens, int8=int8)

    def _take(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        tokens: Sequence[int] | None,
        *,
        int8: bool,
    ) -> None:
        self.tokens = (
            None if tokens is None else torch.tensor(tokens, dtype=torch.long, device=weight.device)
        )
        if self.tokens is not None:
            weight, bias = weight[self.tokens], None if bias is None else bias[self.tokens]
        self.bias = bias
        self.matrix: Int8Matrix | torch.Tensor = Int8Matrix(weight) if int8 else weight

    def beside(self, tokens: Iterable[int]) -> HeadRows:
        """Return these rows, which extend, with those of more tokens."""
        assert self._source is not None
        assert self.tokens is not None
        held = self.tokens.tolist()
        more = sorted(set(tokens) - set(held))
        rows = copy(self)
        if more:
            rows._take(
                *self._source, sorted([*held, *more]), int8=isinstance(self.matrix, Int8Matrix)
            )
        return rows

    def logits(
        self, given: torch.Tensor, finish: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return the logits of these rows ``(..., n)`` in FP32.

        Args:
            given: What the LM head is given, shape ``(..., d)``.
            finish: What the model does to each logit.
        """
        if isinstance(self.matrix, Int8Matrix):
            raw = self.matrix(given)
            raw = raw if self.bias is None else raw + self.bias.float()
        else:
            raw = few_rows.linear(given, self.matrix, self.bias)
        return finish(raw).float()

    def among_all(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits ``(..., V)`` of all tokens; minus infinity for those without a row."""
        if self.tokens is None:
            return logits
        return logits.new_full((*logits.shape[:-1], self.vocabulary), -math.inf).index_copy_(
            -1, self.tokens, logits
        )


def _plain(head: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight ``(V, d)`` and bias ``(V,)`` of a linear LM head; HeadsError for others."""
    weight = whole(head.weight.detach())  # type: ignore[operator]
    bias = getattr(head, "bias", None)
    bias = None if bias is None else whole(bias.detach())
    probe = torch.linspace(-1, 1, weight.shape[1]).to(weight)[None]
    with torch.inference_mode():
        own, ours = head(probe).float(), F.linear(probe, weight, bias).float()
    if not torch.allclose(ours, own, rtol=1e-2, atol=1e-2 * float(own.abs().max())):
        raise HeadsError(
            f"the LM head of this model is a {type(head).__name__}, no plain matrix: rows of it "
            "cannot be taken; leave shortlist and head dtype out"
        )
    return weight, bias
