"""The scores of gates as a distribution: one number for how well a gate tells good exits.

A gate scores how likely its head is confident and right. The model is that of two bells: a hidden
number is standard normal where the head is no good exit, and ``distance`` higher where it is one.
The score is the probability of a good exit that follows from it, so that the gate is calibrated.
Its quality is the share of pairs of a good exit and another output that it orders right (the area
under its ROC curve).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import rankdata

GOOD = 0.8
"""A good exit is one where the head is right, and more confident than this."""

MEASURED = 0.9
"""The quality that was measured.

On SmolLM2-135M-Instruct, heads in closed form, probes of 577 weights, held-out text: asking at the
best 30 % of the outputs found 84 % of the good exits at depth 12 of 30 (14 % of the outputs are
good exits there), 88 % at 18 (15 %), 76 % at 21 (25 %), 53 % at 24 (44 %). These are qualities of
0.90, 0.92, 0.90 and 0.81.
"""

_SMALLEST = 1e-4
"""Shares of good exits are held this far from 0 and 1, where a score would say nothing."""

_Array = NDArray[np.float64]


def good_exits(right: NDArray[np.bool_], confidence: _Array) -> NDArray[np.bool_]:
    """Return where heads are good exits, in the shape of the arguments."""
    good: NDArray[np.bool_] = right & (confidence > GOOD)
    return good


def distance_of(quality: float) -> float:
    """Return how far apart the two bells of a gate of this quality lie, in their own widths."""
    return math.sqrt(2.0) * float(ndtri(min(quality, 1 - 1e-9)))


def scores(good: NDArray[np.bool_], share: _Array, quality: _Array, noise: _Array) -> _Array:
    """Return the scores of gates, in [0, 1].

    Args:
        good: Where heads are good exits, shape ``(..., heads)``.
        share: The share of good exits by head, which calibrates the scores.
        quality: The quality of each gate.
        noise: Independent standard normal numbers, shape ``(..., heads)``.
    """
    distance = np.array([distance_of(one) for one in np.atleast_1d(quality).tolist()])
    hidden = noise + distance * good
    prior = logit(np.clip(share, _SMALLEST, 1 - _SMALLEST))
    found: _Array = expit(prior + distance * hidden - distance**2 / 2)
    return found


def quality_of(score: _Array, good: NDArray[np.bool_]) -> float:
    """Return the quality that scores show, 0.5 where all outputs are good exits or none is."""
    n_good, n_other = int(good.sum()), int((~good).sum())
    if not n_good or not n_other:
        return 0.5
    ranks = rankdata(score)[good].sum() - n_good * (n_good + 1) / 2
    return float(ranks / (n_good * n_other))


def recall_at(asked: float, share: float, quality: float) -> float:
    """Return the share of good exits that a gate finds by asking at its best outputs.

    Args:
        asked: Share of the outputs at which the head is asked.
        share: Share of the outputs that are good exits.
        quality: The quality of the gate.
    """
    distance, low, high = distance_of(quality), -20.0, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        above = share * ndtr(distance - middle) + (1 - share) * ndtr(-middle)
        low, high = (middle, high) if above > asked else (low, middle)
    return float(ndtr(distance - low))
