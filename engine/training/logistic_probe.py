"""Logistic regression on hidden states: one weight a coordinate, found by Newton's method.

What is minimised is the mean log loss plus a ridge on the weights of *standardised* coordinates,
since hidden states have a few that are far larger than the rest. How strong the ridge is, is chosen
on the last rows, which are of other texts than most of the others; then all rows are fitted. Losses
and gradients are in FP64, the curvature, which takes most of the time, in FP32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

RIDGES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Ridges to choose from, the strongest first: each is found from where the one before ended."""

LEFT_OUT = 5
"""One row in so many, the last ones, chooses the ridge."""

STEPS = 12
"""Newton steps at most; some five are needed, fewer after another ridge."""

CLOSE = 1e-4
"""The largest change of a standardised weight after which there is nothing more to find."""

MOST_SURE = 30.0
"""A score's logit beyond which rounding would make it 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A logistic probe: sigmoid(weight . x + bias).

    Attributes:
        weight: Shape ``(d,)`` in FP64.
        bias: The bias.
        ridge: The ridge that was chosen.
    """

    weight: torch.Tensor
    bias: float
    ridge: float

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(n,)`` of states ``(n, d)`` in FP64."""
        return states.double() @ self.weight + self.bias


def fit_probe(states: torch.Tensor, good: torch.Tensor, ridges: Sequence[float] = RIDGES) -> Probe:
    """Return the probe that tells good rows from others.

    Where all rows are good, or none is, it says so of every state.

    Args:
        states: Shape ``(n, d)``, texts one after another.
        good: Whether each row is good, shape ``(n,)``.
        ridges: Ridges to choose from, the strongest first.
    """
    kept = len(states) - len(states) // LEFT_OUT
    target = good.double()
    if len(ridges) == 1 or kept == len(states) or len(set(good[:kept].tolist())) == 1:
        return _path(states, target, ridges[:1])[0]
    path = _path(states[:kept], target[:kept], ridges)
    best = min(path, key=lambda probe: _loss(probe, states[kept:], target[kept:]))
    return _path(states, target, [best.ridge], best)[0]


def _loss(probe: Probe, states: torch.Tensor, target: torch.Tensor) -> float:
    logits = probe.logits(states)
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, target))


def _path(
    states: torch.Tensor,
    target: torch.Tensor,
    ridges: Sequence[float],
    start: Probe | None = None,
) -> list[Probe]:
    """Return the probe of each ridge, found from where the one before it ended."""
    share = (float(target.sum()) + 0.5) / (len(target) + 1)
    prior = math.log(share / (1 - share))
    wide = states.double()
    mean = wide.mean(0)
    spread = wide.std(0, unbiased=False).clamp(min=1e-9)
    if float(target.min()) == float(target.max()):
        nothing = torch.zeros_like(mean)
        return [Probe(weight=nothing, bias=prior, ridge=ridge) for ridge in ridges]
    # a column of ones for the bias, which has no ridge
    x = torch.cat([(wide - mean) / spread, torch.ones_like(wide[:, :1])], 1)
    found = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    found[-1] = prior
    if start is not None:
        found[:-1], found[-1] = start.weight * spread, start.bias + float(start.weight @ mean)
    probes = []
    for ridge in ridges:
        found = _newton(x, target, found, ridge)
        weight = found[:-1] / spread
        bias = float(found[-1] - weight @ mean)
        probes.append(Probe(weight=weight, bias=bias, ridge=ridge))
    return probes


def _newton(
    x: torch.Tensor, target: torch.Tensor, found: torch.Tensor, ridge: float
) -> torch.Tensor:
    """Return the minimum for one ridge, from a start ``(d + 1,)``; steps that overshoot are cut."""
    held = torch.full_like(found, ridge)
    held[-1] = 0.0
    rough = x.float()

    def cost(at: torch.Tensor) -> float:
        logits = x @ at
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        return float(loss + 0.5 * (held * at * at).sum())

    now = cost(found)
    for _ in range(STEPS):
        score = torch.sigmoid((x @ found).clamp(-MOST_SURE, MOST_SURE))
        gradient = x.T @ (score - target) / len(x) + held * found
        weighted = rough * (score * (1 - score) / len(x)).sqrt().float()[:, None]
        curvature = (weighted.T @ weighted).double()  # a step may be rough, where it ends is not
        curvature.diagonal().add_(held + 1e-12)
        step = torch.linalg.solve(curvature, gradient)
        share = 1.0
        while share > 1e-3 and (then := cost(found - share * step)) > now:
            share /= 2
        if share <= 1e-3:
            break
        found, now = found - share * step, then
        if float(step.abs().max()) * share < CLOSE:
            break
    return found
