"""KL(p_final || p_head) over a vocabulary that is too large to hold at once.

There are two passes over chunks of it, the first for the log-sum-exp; with one chunk, one pass.
Either way the loss and its gradient are those of the plain formula, as a test shows.

Training takes the KL over a sample of a large vocabulary instead (`Vocabulary.sampled`): all tokens
that the last layer holds likely, and some of the others, which stand for all the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import UnsupportedModel

CHUNK = 16384
"""Vocabulary entries at a time: with 1024 rows, 64 MiB of FP32 logits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """A model's LM head in chunks.

    Args:
        weight: The matrix (V, d).
        bias: The bias (V,), None where there is none.
        finish: What the model does to each logit.
        chunk: Vocabulary entries at a time.
        shift: What is added to each logit (V,) at the end; None for nothing.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    finish: Callable[[torch.Tensor], torch.Tensor]
    chunk: int = CHUNK
    shift: torch.Tensor | None = None

    @classmethod
    def of(cls, parts: SegmentedModel, chunk: int = CHUNK) -> Vocabulary:
        """Return the LM head of a model.

        Args:
            parts: The model.
            chunk: Vocabulary entries at a time.

        Raises:
            UnsupportedModel: It is not a (V, d) matrix, with or without a bias.
        """
        head = parts.lm_head
        if head.weight.shape[1] != parts.hidden_size:
            raise UnsupportedModel(
                f"{parts.name} cannot have heads trained: its LM head is {head.weight.shape[1]} "
                f"wide, its layers {parts.hidden_size}; wanted one width"
            )
        bias = getattr(head, "bias", None)
        found = cls(
            weight=head.weight.detach(),
            bias=None if bias is None else bias.detach(),
            finish=parts.finish,
            chunk=chunk,
        )
        probe = torch.linspace(-1, 1, 2 * found.weight.shape[1]).reshape(2, -1).to(found.weight)
        with torch.no_grad():
            own, ours = head(probe).float(), F.linear(probe, found.weight, found.bias).float()
        if not torch.allclose(ours, own, rtol=1e-2, atol=1e-2 * float(own.abs().max())):
            raise UnsupportedModel(
                f"{parts.name} cannot have heads trained: its LM head is not a plain matrix; "
                "wanted torch.nn.Linear"
            )
        return found

    def sampled(self, likely: torch.Tensor, others: int, generator: torch.Generator) -> Vocabulary:
        """Return these tokens and some of the others, each of which stands for several.

        A sum of exp(logit) over the sample is one over the whole vocabulary in the mean.

        Args:
            likely: Ids of tokens that are in it for sure, in any order, also repeated.
            others: How many of the others are in it at most.
            generator: Draws them.
        """
        chosen = torch.zeros(len(self.weight), dtype=torch.bool)
        chosen[likely.flatten().long()] = True
        rest = (~chosen).nonzero()[:, 0]
        drawn = rest[torch.randperm(len(rest), generator=generator)[:others]]
        tokens = torch.cat([chosen.nonzero()[:, 0], drawn]).to(self.weight.device)
        shift = torch.zeros(len(tokens), device=self.weight.device)
        if len(drawn):
            shift[-len(drawn) :] = math.log(len(rest) / len(drawn))
        return Vocabulary(
            weight=self.weight[tokens],
            bias=None if self.bias is None else self.bias[tokens],
            finish=self.finish,
            chunk=len(tokens),
            shift=shift,
        )

    @property
    def parts(self) -> list[slice]:
        """Return the chunks, in order."""
        return [
            slice(start, start + self.chunk) for start in range(0, self.weight.shape[0], self.chunk)
        ]

    def logits(self, normed: torch.Tensor, part: slice) -> torch.Tensor:
        """Return the logits (n, c) of a chunk: FP32, or FP64 for an FP64 model.

        Args:
            normed: Hidden states after the final norm, (n, d).
            part: The chunk.
        """
        raw = self.finish(
            F.linear(normed, self.weight[part], None if self.bias is None else self.bias[part])
        )
        logits = raw if raw.dtype == torch.float64 else raw.float()
        return logits if self.shift is None else logits + self.shift[part]


class Teacher:
    """The last layer's distributions of n rows.

    Args:
        vocabulary: The model's LM head.
        final: Normed hidden states of the last layer, (n, d).

    Attributes:
        top: The most probable tokens, (n,).
    """

    def __init__(self, vocabulary: Vocabulary, final: torch.Tensor) -> None:
        self.vocabulary = vocabulary
        self.final = final.detach().to(vocabulary.weight.dtype)
        self._whole: tuple[torch.Tensor, torch.Tensor] | None = None
        with torch.no_grad():
            self._lse, self.top = _summary(vocabulary, self.final)
            if len(vocabulary.parts) == 1:
                self._whole = self.probabilities(vocabulary.parts[0])

    def probabilities(self, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probabilities and probabilities (n, c) of a chunk."""
        if self._whole is not None:
            return self._whole
        log_p = self.vocabulary.logits(self.final, part) - self._lse[:, None]
        return log_p, log_p.exp()


class DivergenceStats(NamedTuple):
    """A head compared with the last layer.

    Attributes:
        kl: KL(p_final || p_head) in nats, (n,).
        agree: Whether both have the same most probable token, (n,).
    """

    kl: torch.Tensor
    agree: torch.Tensor


def divergence(teacher: Teacher, student: torch.Tensor) -> torch.Tensor:
    """Return KL(p_final || p_head) in nats, (n,), differentiable in ``student``.

    Args:
        teacher: The last layer.
        student: What the LM head is given for the head, (n, d).
    """
    found: torch.Tensor = _Divergence.apply(teacher, student)
    return found


@torch.no_grad()
def divergence_stats(teacher: Teacher, student: torch.Tensor) -> DivergenceStats:
    """Return KL and agreement of ``student`` (n, d), without a gradient."""
    x = student.to(teacher.final.dtype)
    lse, top = _summary(teacher.vocabulary, x)
    kl = torch.zeros_like(lse)
    for part in teacher.vocabulary.parts:
        log_p, p = teacher.probabilities(part)
        kl += (p * (log_p - (teacher.vocabulary.logits(x, part) - lse[:, None]))).sum(-1)
    return DivergenceStats(kl, top == teacher.top)


class _Divergence(torch.autograd.Function):
    """The gradient is found in the forward pass, while each chunk's logits are at hand."""

    @staticmethod
    def forward(ctx: Any, teacher: Teacher, student: torch.Tensor) -> torch.Tensor:
        kl, gradient = _kl_and_gradient(teacher, student)
        ctx.save_for_backward(gradient)
        return kl

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor]:
        (gradient,) = ctx.saved_tensors
        return None, grads[0][:, None] * gradient


def _kl_and_gradient(teacher: Teacher, student: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return KL (n,), and the gradient (n, d) of each row's KL in that row of ``student``."""
    vocabulary = teacher.vocabulary
    x = student.detach().to(teacher.final.dtype).requires_grad_()
    chunks = vocabulary.parts
    lse = None if len(chunks) == 1 else _summary(vocabulary, x.detach())[0]
    kl = torch.zeros(len(x), dtype=student.dtype, device=x.device)
    gradient = torch.zeros_like(student)
    for part in chunks:
        with torch.enable_grad():
            logits = vocabulary.logits(x, part)
        log_q = logits.detach()
        log_q = log_q - (log_q.logsumexp(-1) if lse is None else lse)[:, None]
        log_p, p = teacher.probabilities(part)
        kl += (p * (log_p - log_q)).sum(-1)
        gradient += torch.autograd.grad(logits, x, log_q.exp_().sub_(p))[0]
    return kl, gradient


def _summary(vocabulary: Vocabulary, normed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-sum-exp (n,) and most probable token (n,), the lowest on a tie."""
    lse = best = top = None
    for part in vocabulary.parts:
        logits = vocabulary.logits(normed, part)
        highest, where = logits.max(-1)
        if lse is None or best is None or top is None:
            lse, best, top = logits.logsumexp(-1), highest, where
        else:
            lse = torch.logaddexp(lse, logits.logsumexp(-1))
            top = torch.where(highest > best, where + part.start, top)
            best = torch.maximum(best, highest)
    assert lse is not None
    assert top is not None
    return lse, top
