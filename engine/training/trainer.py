"""Fit the matrices of exit heads to cached hidden states, and measure them.

The model itself is not needed, only its LM head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from adadecode.engine.training.checkpoint import Checkpoint
from adadecode.engine.training.continuation_store import Advance
from adadecode.engine.training.hidden_state_store import States
from adadecode.engine.training.kl_divergence import (
    Teacher,
    Vocabulary,
    divergence,
    divergence_stats,
)
from adadecode.profiles.errors import InputError

WARMUP = 0.05
"""The share of the steps in which the learning rate rises. It then falls to zero along a cosine."""


WHOLE = 8192
"""The loss is taken over the whole of a vocabulary of at most so many tokens."""
OTHERS = 2048
"""Of a larger one, so many tokens that are not likely are drawn for each batch."""


class Trainer:
    """One matrix T = start + offset (d, d) per depth.

    Weight decay acts on the offset: it pulls a head towards where it started.

    Args:
        vocabulary: The model's LM head.
        depths: Depths of the heads.
        starts: The matrix (d, d) that each head starts from.
        lr: Peak learning rate.
        epochs: Passes over the positions.
        batch_tokens: Positions in a step.
        seed: Of the order in which positions are seen.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        depths: Sequence[int],
        *,
        starts: Sequence[torch.Tensor],
        lr: float,
        epochs: int,
        batch_tokens: int,
        seed: int,
    ) -> None:
        weight = vocabulary.weight
        self.vocabulary, self.depths = vocabulary, tuple(depths)
        self.lr, self.epochs, self.batch_tokens, self.seed = lr, epochs, batch_tokens, seed
        self.dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        self.starts = [start.to(weight.device, self.dtype) for start in starts]
        self.offsets = [nn.Parameter(torch.zeros_like(start)) for start in self.starts]
        self.optimizer = torch.optim.AdamW(
            self.offsets, lr=lr, betas=(0.9, 0.98), weight_decay=0.01
        )

    def transforms(self) -> list[torch.Tensor]:
        """Return T (d, d) of each depth, rounded as ExitHeads.save stores it."""
        return [
            (start + offset.detach()).half().to(self.dtype)
            for start, offset in zip(self.starts, self.offsets, strict=True)
        ]

    # -- training ---------------------------------------------------------------------------------

    def fit(self, states: States, checkpoint: Checkpoint, advance: Advance) -> None:
        """Train for all epochs, from the last one in a checkpoint on.

        Args:
            states: The hidden states of all depths.
            checkpoint: What is written after each epoch.
            advance: Counts steps.

        Raises:
            InputError: Training diverges, or the checkpoint is damaged, of other training, or
                cannot be written.
        """
        steps = states.steps(self.batch_tokens)
        first = self._restore(checkpoint, steps)
        advance(first * steps)
        for epoch in range(first, self.epochs):
            order = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            losses = [
                torch.zeros((), dtype=self.dtype, device=offset.device) for offset in self.offsets
            ]
            drawn = torch.Generator().manual_seed(order.initial_seed() ^ 1 << 40)
            batches = states.with_likely(self.batch_tokens, order)
            for step, batch in enumerate(batches, epoch * steps):
                for group in self.optimizer.param_groups:
                    group["lr"] = self.lr * schedule(step, self.epochs * steps)
                self.step(batch.states, self.vocabulary_of(batch.likely, drawn), losses)
                advance(1)
            self._check(epoch, losses)
            self._keep(checkpoint, epoch + 1)

    def vocabulary_of(self, likely: torch.Tensor, drawn: torch.Generator) -> Vocabulary:
        """Return the tokens over which a batch's loss is taken: all of a small vocabulary.

        Args:
            likely: The likely tokens (n, k) of the batch's positions.
            drawn: Draws some of the others.
        """
        if len(self.vocabulary.weight) <= WHOLE:
            return self.vocabulary
        return self.vocabulary.sampled(likely, OTHERS, drawn)

    def step(self, batch: torch.Tensor, vocabulary: Vocabulary, losses: list[torch.Tensor]) -> None:
        """Take one step with every depth, and add each depth's loss to its sum.

        Args:
            batch: Hidden states (n, D + 1, d).
            vocabulary: The tokens over which the loss is taken.
            losses: A sum for each depth.
        """
        batch = batch.to(vocabulary.weight.device)
        teacher = Teacher(vocabulary, batch[:, -1])
        for index, offset in enumerate(self.offsets):
            normed = batch[:, index].to(self.dtype)
            loss = divergence(teacher, normed @ (self.starts[index] + offset).T).mean()
            loss.backward()
            losses[index] += loss.detach()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _check(self, epoch: int, losses: list[torch.Tensor]) -> None:
        for depth, loss in zip(self.depths, losses, strict=True):
            if not math.isfinite(float(loss)):
                raise InputError(
                    f"the head at depth {depth} diverged in epoch {epoch + 1} with a learning rate "
                    f"of {self.lr:g}: lower --lr"
                )

    # -- measuring --------------------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, states: States, advance: Advance) -> list[dict[str, Any]]:
        """Measure each head against the last layer.

        Args:
            states: Hidden states that were not trained on.
            advance: Counts batches.

        Returns:
            Per depth the mean KL in nats and the share of positions with the same most probable
            token, of T = I (``kl_identity``, ``agreement_identity``) and of the trained T.
        """
        transforms = self.transforms()
        sums = torch.zeros(len(self.depths), 4, dtype=torch.float64)
        for cached in states.batches(self.batch_tokens):
            batch = cached.to(self.vocabulary.weight.device)
            teacher = Teacher(self.vocabulary, batch[:, -1])
            for index, matrix in enumerate(transforms):
                normed = batch[:, index].to(self.dtype)
                found = (
                    *divergence_stats(teacher, normed),
                    *divergence_stats(teacher, normed @ matrix.T),
                )
                sums[index] += torch.stack([values.double().sum() for values in found]).cpu()
            advance(1)
        names = ("kl_identity", "agreement_identity", "kl", "agreement")
        return [
            {
                "depth": depth,
                **dict(zip(names, (row / states.rows).tolist(), strict=True)),
                "positions": states.rows,
            }
            for depth, row in zip(self.depths, sums, strict=True)
        ]

    # -- checkpoints ------------------------------------------------------------------------------

    def _keep(self, checkpoint: Checkpoint, epochs: int) -> None:
        """Write offsets and optimizer state after ``epochs`` epochs."""
        tensors: dict[str, torch.Tensor] = {}
        for depth, offset in zip(self.depths, self.offsets, strict=True):
            state = self.optimizer.state[offset]
            tensors |= {
                f"{depth}.offset": offset.detach(),
                f"{depth}.exp_avg": state["exp_avg"],
                f"{depth}.exp_avg_sq": state["exp_avg_sq"],
                f"{depth}.step": state["step"],
            }
        checkpoint.write(tensors, epochs)

    def _restore(self, checkpoint: Checkpoint, steps: int) -> int:
        """Load a checkpoint where there is one, and return how many epochs it holds.

        Args:
            checkpoint: The checkpoint.
            steps: The steps of an epoch.
        """
        if not checkpoint.exists():
            return 0
        layouts: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        for depth, offset in zip(self.depths, self.offsets, strict=True):
            square = (offset.dtype, tuple(offset.shape))
            layouts |= {f"{depth}.{name}": square for name in ("offset", "exp_avg", "exp_avg_sq")}
            layouts[f"{depth}.step"] = (torch.float32, ())
        epochs, tensors = checkpoint.read(layouts)
        counted = {float(tensors[f"{depth}.step"]) for depth in self.depths}
        if not 1 <= epochs <= self.epochs or counted != {float(epochs * steps)}:
            raise checkpoint.damaged(f"wanted 1 to {self.epochs} epochs of {steps} steps")
        for depth, offset in zip(self.depths, self.offsets, strict=True):
            offset.data.copy_(tensors[f"{depth}.offset"])
            averages = {
                name: tensors[f"{depth}.{name}"].to(offset.device)
                for name in ("exp_avg", "exp_avg_sq")
            }
            self.optimizer.state[offset] = {"step": tensors[f"{depth}.step"], **averages}
        return epochs


def schedule(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at this step of ``steps``."""
    return min((step + 1) / max(1.0, WARMUP * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))
