"""Rows of an LM head, in its own format or in int8, for heads of another form than the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import NamedTuple

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
        self.tokens = (
            None if tokens is None else torch.tensor(tokens, dtype=torch.long, device=weight.device)
        )
        self._held = frozenset(tokens or ())
        if self.tokens is not None:
            weight, bias = weight[self.tokens], None if bias is None else bias[self.tokens]
        self.bias = bias
        self.matrix: Int8Matrix | torch.Tensor = Int8Matrix(weight) if int8 else weight
        self._more: _More | None = None

    def beside(self, tokens: Iterable[int]) -> HeadRows:
        """Return these rows, which extend, with those of more tokens.

        The rows that are there are shared; only those that are new are gathered, and quantised.
        """
        assert self._source is not None
        assert self.tokens is not None
        more = sorted(set(tokens) - self._held)
        rows = copy(self)
        if more:
            weight, bias = self._source
            ids = torch.tensor(more, dtype=torch.long, device=weight.device)
            new = weight[ids]
            rows.tokens, order = torch.cat((self.tokens, ids)).sort()
            rows._more = _More(
                matrix=Int8Matrix(new, self.matrix.product)
                if isinstance(self.matrix, Int8Matrix)
                else new,
                bias=None if bias is None else bias[ids],
                order=order,
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
        raw, more = _product(given, self.matrix, self.bias), self._more
        if more is not None:
            both = torch.cat((raw, _product(given, more.matrix, more.bias)), -1)
            raw = both.index_select(-1, more.order)
        return finish(raw).float()

    def among_all(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits ``(..., V)`` of all tokens; minus infinity for those without a row."""
        if self.tokens is None:
            return logits
        return logits.new_full((*logits.shape[:-1], self.vocabulary), -math.inf).index_copy_(
            -1, self.tokens, logits
        )


class _More(NamedTuple):
    """Rows beside others.

    Attributes:
        matrix: The rows.
        bias: Their bias, where there is one.
        order: The place of each logit among those of both, such that ids rise.
    """

    matrix: Int8Matrix | torch.Tensor
    bias: torch.Tensor | None
    order: torch.Tensor


def _product(
    given: torch.Tensor, matrix: Int8Matrix | torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Return what rows ``(n, d)`` make of states ``(..., d)``, with their bias."""
    if isinstance(matrix, Int8Matrix):
        raw = matrix(given)
        return raw if bias is None else raw + bias.float()
    return few_rows.linear(given, matrix, bias)


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
