"""Find a good design by simulation: heads are added one at a time while that helps."""

from __future__ import annotations

from collections.abc import Sequence

from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Prediction, Predictor

GAMMAS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def best_design(predictor: Predictor, prompts: Sequence[int], *, max_heads: int = 4) -> Prediction:
    """Return the prediction of the fastest design found on these prompts.

    The search is a greedy forward selection over depths, with one gamma for all heads.

    Args:
        predictor: Of the profile.
        prompts: Their numbers in the trace.
        max_heads: The most heads of a design.
    """
    best: Prediction | None = None
    while best is None or len(best.design.placement) < max_heads:
        heads = () if best is None else best.design.placement
        predictions = [
            predictor.predict(Design.of(gamma=gamma, placement=sorted((*heads, depth))), prompts)
            for depth in predictor.trace.depths
            if depth not in heads
            for gamma in GAMMAS
        ]
        fastest = max(predictions, key=lambda prediction: prediction.speedup)
        if best is not None and fastest.speedup <= best.speedup:
            break
        best = fastest
    return best
