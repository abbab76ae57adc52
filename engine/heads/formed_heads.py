"""Exit heads in one form: the matrices and rows of the LM head that it needs, and their logits."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel

from adadecode.engine.heads.int8 import Int8Matrix
from adadecode.engine.heads.lm_head_rows import HeadRows
from adadecode.engine.model import few_rows
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.sim.core.head_form import HeadForm


class FormedHeads:
    """The arithmetic of exit heads, whose matrices and form are checked.

    Attributes:
        transforms: The matrices as they were given, shallowest first.
        form: The form that the heads have; without int8 where no product of the device reads it.
        tokens: The shortlist, by rising id; None for the whole vocabulary.

    Args:
        model: The model that the heads belong to.
        transforms: By depth the matrix T, shape ``(d, d)``, shallowest first; None for the
            identity.
        form: The format of the heads, and whether a text's prompt adds to the shortlist.
        tokens: The shortlist, by rising id; None for the whole vocabulary.

    Raises:
        HeadsError: The form needs rows of an LM head that is no plain matrix.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        transforms: dict[int, torch.Tensor | None],
        form: HeadForm,
        tokens: tuple[int, ...] | None,
    ) -> None:
        head = model.get_output_embeddings()
        self.transforms, self.tokens = transforms, tokens
        self.form = replace(form, shortlist=None if tokens is None else len(tokens))
        self._matrices: dict[int, torch.Tensor | Int8Matrix | None] = {
            d: None if m is None else m.to(head.weight.device, next(model.parameters()).dtype)
            for d, m in transforms.items()
        }
        self._rows: HeadRows | None = None
        self._of_text = False
        self._take_form(head)

    def _take_form(self, head: nn.Module) -> None:
        """Gather and quantise what the form needs."""
        if self.form.dtype is not None:
            try:
                rows = HeadRows(head, self.tokens, int8=True, extends=self.form.prompt)
                matrices = {
                    depth: _quantised_rest(matrix, head.weight.device)  # type: ignore[arg-type]
                    for depth, matrix in self.transforms.items()
                    if matrix is not None
                }
            except LookupError as error:
                warnings.warn(
                    f"no int8 heads on this device ({error}): they stay in the model's own format",
                    stacklevel=5,
                )
                self.form = replace(self.form, dtype=None)
            else:
                self._rows = rows
                self._matrices |= matrices
        if self.tokens is not None and self._rows is None:
            self._rows = HeadRows(head, self.tokens, int8=False, extends=self.form.prompt)

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths that have a head, shallowest first."""
        return tuple(self.transforms)

    def for_text(self, prompt: Iterable[int]) -> Self:
        """Return the heads as they are for a text with this prompt.

        They are these very heads unless the form adds the tokens of the prompt to the shortlist.

        Args:
            prompt: Token ids.
        """
        if not self.form.prompt or self._rows is None:
            return self
        heads = copy(self)
        heads._rows = self._rows.beside(prompt)
        heads._of_text = True
        return heads

    @property
    def of_text(self) -> bool:
        """Whether these are the heads of a single text, of which no graphs are kept."""
        return self._of_text

    def apply(self, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """Return T norm(h), which the LM head is then given.

        Args:
            depth: Depth of the head.
            normed: Hidden states after the final norm, shape ``(..., d)``.

        Returns:
            A tensor of the same shape.
        """
        matrix = self._matrices[depth]
        if matrix is None:
            return normed
        return (
            normed + matrix(normed).to(normed.dtype)
            if isinstance(matrix, Int8Matrix)
            else few_rows.linear(normed.to(matrix.device), matrix)
        )

    def logits(self, parts: SegmentedModel, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """Return the logits of one head.

        Args:
            parts: The model.
            depth: Depth of the head.
            normed: Hidden states after the final norm, shape ``(1, n, d)``.

        Returns:
            Logits in FP32, shape ``(1, n, V)``; minus infinity for tokens outside the shortlist.
        """
        own = self.own_logits(parts, depth, normed)
        return own if self._rows is None else self._rows.among_all(own)

    def own_logits(self, parts: SegmentedModel, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """Return the logits of one head for the tokens that it has, which `listed` names.

        The arguments are those of `logits`.

        Returns:
            Logits in FP32, shape ``(1, n, S)``: S tokens of a shortlist, or all V.
        """
        given = self.apply(depth, normed)
        return (
            parts.unembed(given) if self._rows is None else self._rows.logits(given, parts.finish)
        )

    @property
    def listed(self) -> torch.Tensor | None:
        """The rising token ids of `own_logits`, ``(S,)``; None where they are of all tokens."""
        return None if self._rows is None else self._rows.tokens

    def held(self) -> torch.Tensor | None:
        """Return the ids of the tokens that the heads give logits of; None for all."""
        return None if self._rows is None or self._rows.tokens is None else self._rows.tokens.cpu()

    @property
    def product(self) -> str | None:
        """What multiplies int8: a name of `adadecode.engine.heads.int8.PRODUCTS`, or None."""
        return (
            self._rows.matrix.product
            if self._rows is not None and isinstance(self._rows.matrix, Int8Matrix)
            else None
        )

    def describe(self) -> dict[str, Any]:
        """Return the form as a manifest holds it."""
        return {
            **self.form.to_dict(),
            "product": self.product,
            "tokens": None if self.tokens is None else list(self.tokens),
        }


def _quantised_rest(matrix: torch.Tensor, device: torch.device) -> Int8Matrix:
    """Return T - I in int8: T is nearly the identity, so that the rest is what is quantised."""
    return Int8Matrix(matrix.to(device, torch.float32) - torch.eye(len(matrix), device=device))
