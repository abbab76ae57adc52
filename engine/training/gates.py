"""Train the gates of exit heads, once the heads are trained.

A gate (`adadecode.engine.heads.gates`) says how likely its head, asked here, is confident and
right. So each is fitted to what the trained head does on stored hidden states: whether its
confidence exceeds a bound *and* its token is the last layer's. The heads are asked in the form that
they are saved in. What is reported was measured on held-out texts.

What else a gate might look at was tried and left out (docs/decisions/0046): the size of the state,
and how confident and right the head was of the output before.
"""

from __future__ import annotations

from typing import Any

import torch

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.training.continuation_store import Advance
from adadecode.engine.training.hidden_state_store import States
from adadecode.engine.training.logistic_probe import fit_probe

MOST_POSITIONS = 16384
"""Positions that gates are fitted to at most, evenly over all texts: a gate has d weights."""

MOST_BYTES = 1 << 30
"""Bytes of hidden states in memory at once; fewer positions of a wide model are taken."""

ASKED = (0.2, 0.3, 0.5)
"""Shares of positions asked, at which is reported which share of the good ones is found."""

ROWS = 256
"""Rows whose logits are held at once."""


@torch.inference_mode()
def train_gates(
    parts: SegmentedModel,
    heads: ExitHeads,
    trained_on: States,
    measured_on: States,
    *,
    confidence: float,
    advance: Advance,
) -> Gates:
    """Return gates for all heads, with what was measured on held-out texts.

    Args:
        parts: The model.
        heads: Its trained heads, in the form in which they will be asked.
        trained_on: Hidden states at the depths of the heads and of the last layer.
        measured_on: The same of held-out texts.
        confidence: How confident of its token a head must be.
        advance: Called with 1 after each depth.
    """
    seen, unseen = (_Sample.of(parts, states) for states in (trained_on, measured_on))
    weights, biases, metrics = {}, {}, []
    with parts.session():
        for index, depth in enumerate(heads.depths):
            probe = fit_probe(seen.states(index), seen.good(parts, heads, depth, index, confidence))
            weights[depth], biases[depth] = probe.weight, probe.bias
            scores = torch.sigmoid(probe.logits(unseen.states(index)))
            good = unseen.good(parts, heads, depth, index, confidence)
            metrics.append({"depth": depth, **measures(scores, good), "ridge": probe.ridge})
            advance(1)
    return Gates(weights, biases, confidence=confidence, metrics=metrics)


class _Sample:
    """Some positions of stored states, evenly over them, with the last layer's tokens.

    Args:
        rows: Hidden states ``(n, D + 1, d)`` on the CPU.
        tokens: The last layer's most likely token of each row, shape ``(n,)``.
        device: Where gates are fitted.
    """

    def __init__(self, rows: torch.Tensor, tokens: torch.Tensor, device: torch.device) -> None:
        self.rows, self.tokens, self.device = rows, tokens, device

    @classmethod
    def of(cls, parts: SegmentedModel, states: States) -> _Sample:
        """Return at most `MOST_POSITIONS` positions, in order."""
        kept: list[torch.Tensor] = []
        begun, step = 0, 0
        for batch in states.batches(ROWS):
            step = step or _step(states.rows, batch)
            kept.append(batch[-begun % step :: step].clone())
            begun += len(batch)
        rows = torch.cat(kept)
        with parts.session():
            tokens = [
                parts.unembed(part[None, :, -1].to(parts.device, parts.dtype))[0].argmax(-1)
                for part in rows.split(ROWS)
            ]
        return cls(rows, torch.cat(tokens), parts.device)

    def states(self, index: int) -> torch.Tensor:
        """Return the states of one depth, shape ``(n, d)``."""
        return self.rows[:, index].to(self.device)

    def good(
        self, parts: SegmentedModel, heads: ExitHeads, depth: int, index: int, confidence: float
    ) -> torch.Tensor:
        """Return where a head is confident and right, shape ``(n,)``."""
        found = []
        for part in self.states(index).to(parts.dtype).split(ROWS):
            logits = heads.logits(parts, depth, part[None])[0]
            sure = (logits.amax(-1) - logits.logsumexp(-1)).exp() > confidence
            found.append(torch.stack((sure.long(), logits.argmax(-1))))
        sure, tokens = torch.cat(found, 1)
        return sure.bool() & (tokens == self.tokens.to(tokens.device))


def _step(rows: int, batch: torch.Tensor) -> int:
    """Return that every how many-th position is taken."""
    row_bytes = batch[0].numel() * batch.dtype.itemsize
    most = max(1, min(MOST_POSITIONS, MOST_BYTES // row_bytes))
    return -(-rows // most)


def measures(scores: torch.Tensor, good: torch.Tensor) -> dict[str, Any]:
    """Return how well scores find the good positions.

    Args:
        scores: Shape ``(n,)``.
        good: Whether each position is good, shape ``(n,)``.

    Returns:
        ``positions``; ``good``, the share of good ones; ``auc``, how often a good position scores
        higher than another; and ``found_20`` and so on, the share of the good ones among the 20 %
        with the highest scores. Without both kinds of positions ``auc`` and what is found are left
        out.
    """
    count, n_good = len(good), int(good.sum())
    known = {"positions": count, "good": n_good / max(1, count)}
    if not 0 < n_good < count:
        return known
    order = scores.argsort(descending=True, stable=True)
    hits = good[order].double().cumsum(0)
    _, ranks, counts = scores.unique(return_inverse=True, return_counts=True)
    # the rank of equal scores is the mean of theirs
    place = (counts.cumsum(0) - (counts - 1) / 2)[ranks]
    above = float(place[good].sum()) - n_good * (n_good + 1) / 2
    found = {
        f"found_{share * 100:.0f}": float(hits[_asked(share, count)]) / n_good for share in ASKED
    }
    return {**known, "auc": above / (n_good * (count - n_good)), **found}


def _asked(share: float, count: int) -> int:
    """Return the place of the last position that is asked."""
    return max(1, round(share * count)) - 1
