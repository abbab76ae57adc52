"""Gates: a logistic probe beside each exit head, which says whether asking the head is worth it.

A head reads T and the rows of the LM head, the weights of several layers; a gate reads d numbers.
Its score is sigmoid(w . norm(h) + b), of the normed hidden state that the head itself is given: the
probability that the head, asked here, is confident and right. Where the score does not exceed the
design's threshold, the head is not asked. That loses a draft at most: no gate changes a text.

The dot product and the sigmoid are in FP32, whatever the model computes in. The norm is computed
again by the check that follows, which then does the same with a gate before it and without one: a
few small operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from adadecode.profiles.errors import HeadsError

LARGEST_WEIGHT = 1e6
"""The largest number of a gate. Normed states are near 1, and a score saturates at 40."""

GATE_WEIGHTS, GATE_BIASES = "gates.weights", "gates.biases"
"""The names of the tensors that hold the gates in a file of heads."""


class Gates:
    """The gates of some exit heads, one a depth.

    Attributes:
        weights: By depth the weight w, shape ``(d,)`` in FP32.
        biases: By depth the bias b.
        confidence: How confident of its token a head had to be in training; 0 without any.
        metrics: What training measured on held-out texts, a row a depth.

    Args:
        weights: By depth the weight w, shape ``(d,)``.
        biases: The bias of the same depths.
        confidence: See above.
        metrics: See above.

    Raises:
        HeadsError: A weight or a bias is no such thing, or they are of different depths.
    """

    def __init__(
        self,
        weights: Mapping[int, torch.Tensor],
        biases: Mapping[int, float],
        *,
        confidence: float = 0.0,
        metrics: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if weights.keys() != biases.keys() or not weights:
            raise HeadsError(
                f"wanted a weight and a bias a gate, got weights at depths {sorted(weights)} and "
                f"biases at {sorted(biases)}: give both for each depth"
            )
        if odd := [depth for depth, weight in weights.items() if weight.ndim != 1]:
            raise HeadsError(
                f"wanted the weight of a gate as one row (d,), got {tuple(weights[odd[0]].shape)} "
                f"at depth {odd[0]}: give a vector"
            )
        self.weights = {d: weights[d].detach().to(torch.float32) for d in sorted(weights)}
        self.biases = {d: float(torch.tensor(biases[d], dtype=torch.float32)) for d in self.weights}
        self.confidence, self.metrics = float(confidence), [dict(row) for row in metrics]
        self._probes = {
            depth: (weight[None], weight.new_tensor([self.biases[depth]]))
            for depth, weight in self.weights.items()
        }

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the gates, shallowest first."""
        return tuple(self.weights)

    def at(self, depths: Sequence[int]) -> Gates:
        """Return the gates of some of the depths."""
        return Gates(
            {depth: self.weights[depth] for depth in depths},
            {depth: self.biases[depth] for depth in depths},
            confidence=self.confidence,
            metrics=[row for row in self.metrics if row.get("depth") in depths],
        )

    def beside(self, device: torch.device, depths: Sequence[int], width: int) -> Gates:
        """Return the gates on the device of the heads at these depths.

        Args:
            device: Where the heads are.
            depths: The depths of the heads.
            width: The width d of the hidden states.

        Raises:
            HeadsError: They are not the gates of such heads.
        """
        if set(self.depths) != set(depths):
            raise HeadsError(
                f"wanted a gate for each head, at depths {sorted(depths)}, got gates at "
                f"{list(self.depths)}: train gates for these heads"
            )
        for depth, weight in self.weights.items():
            if len(weight) != width:
                raise HeadsError(
                    f"the gate at depth {depth} takes hidden states of {len(weight)}, this model "
                    f"has {width}: it belongs to another model"
                )
        return Gates(
            {depth: weight.to(device) for depth, weight in self.weights.items()},
            self.biases,
            confidence=self.confidence,
            metrics=self.metrics,
        )

    def score(self, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """Return the scores of one gate, without reading the device.

        Args:
            depth: The depth of the gate.
            normed: Hidden states after the final norm, shape ``(..., d)``.

        Returns:
            Scores in [0, 1] in FP32, shape ``(...)``.
        """
        weight, bias = self._probes[depth]
        return torch.sigmoid(F.linear(normed.to(weight.device, torch.float32), weight, bias))[
            ..., 0
        ]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weights ``(n, d)`` and biases ``(n,)`` in FP32, shallowest first, as in a file."""
        return {
            GATE_WEIGHTS: torch.stack(list(self.weights.values())).cpu(),
            GATE_BIASES: torch.tensor(list(self.biases.values()), dtype=torch.float32),
        }

    @classmethod
    def random(cls, depths: Sequence[int], width: int, seed: int = 0) -> Gates:
        """Return gates of random weights, as costly as trained ones.

        Args:
            depths: The depths of the gates.
            width: The width d of the hidden states.
            seed: Seed of the weights.
        """
        generator = torch.Generator().manual_seed(seed)
        return cls(
            {depth: torch.randn(width, generator=generator) / width**0.5 for depth in depths},
            dict.fromkeys(depths, 0.0),
        )
