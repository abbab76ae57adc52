"""Finds a good design by simulation: heads added one at a time, each with its gamma, while it helps."""

from __future__ import annotations

from collections.abc import Sequence

from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Prediction, Predictor

GAMMAS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def best_design(predictor: Predictor, prompts: Sequence[int], *, most_heads: int = 4) -> Prediction:
    """The fastest design found on these prompts: greedy forward selection over depths, one gamma for all heads."""
    best: Prediction | None = None
    while best is None or len(best.design.placement) < most_heads:
        heads = () if best is None else best.design.placement
        tried = [
            predictor.predict(Design.of(gamma=gamma, placement=sorted((*heads, depth))), prompts)
            for depth in predictor.trace.depths
            if depth not in heads
            for gamma in GAMMAS
        ]
        found = max(tried, key=lambda p: p.speedup)
        if best is not None and found.speedup <= best.speedup:
            break
        best = found
    return best
