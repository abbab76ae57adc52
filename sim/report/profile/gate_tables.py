"""How well gates tell where their heads are good exits, as tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.trace import Trace
from adadecode.sim.synthetic.gate_model import good_exits, quality_of

ASKED = (0.1, 0.2, 0.3, 0.4, 0.6)
"""Shares of the outputs at which a gate lets its head be asked, the best by its score."""

BINS = 20
"""Bins of a histogram of scores in [0, 1]."""


def recall(trace: Trace, prompts: Sequence[int]) -> pd.DataFrame:
    """Return what share of the good exits is found by asking at a share of the outputs.

    A good exit is an output at which the head is right and more confident than
    `adadecode.sim.synthetic.gate_model.GOOD`.

    Args:
        trace: The outputs of heads and gates.
        prompts: Which prompts to count.

    Returns:
        One row for each depth and whole per cent asked. Columns: depth, asked, recall, good (share
        of the outputs that are good exits) and quality (share of pairs of a good exit and another
        output in the right order). Depths without any good exit have no row.
    """
    rows = []
    for depth, score, good in _heard(trace, prompts):
        if not good.any():
            continue
        found = np.cumsum(good[np.argsort(-score, kind="stable")])
        quality, share = quality_of(score, good), float(good.mean())
        for percent in range(101):
            count = round(percent / 100 * len(score))
            share_found = float(found[count - 1] / found[-1]) if count else 0.0
            rows.append((depth, percent / 100, share_found, share, quality))
    return pd.DataFrame(rows, columns=["depth", "asked", "recall", "good", "quality"])


def quality(recalled: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each depth, from the table of `recall`.

    Columns: depth, good, quality, and ``at_10`` and so on: the recall at each of `ASKED`.
    """
    rows = []
    for depth, part in recalled.groupby("depth", sort=True):
        at = dict(zip(part["asked"].tolist(), part["recall"].tolist(), strict=True))
        found = {f"at_{round(100 * asked)}": at[asked] for asked in ASKED}
        first = part.iloc[0]
        rows.append({"depth": depth, "good": first["good"], "quality": first["quality"], **found})
    return pd.DataFrame(rows)


def histogram(trace: Trace, prompts: Sequence[int]) -> pd.DataFrame:
    """Return how many outputs have which score, good exits apart from others.

    Columns: depth, score (the middle of its bin), good and other (counts).
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    parts = []
    for depth, score, good in _heard(trace, prompts):
        counts = {
            name: np.histogram(score[which], edges)[0]
            for name, which in (("good", good), ("other", ~good))
        }
        parts.append(pd.DataFrame({"depth": depth, "score": middles, **counts}))
    return pd.concat(parts, ignore_index=True)


def _heard(
    trace: Trace, prompts: Sequence[int]
) -> list[tuple[int, NDArray[np.float64], NDArray[np.bool_]]]:
    """Return depth, scores of the gate, and where the head is a good exit, for each head."""
    score = np.concatenate([trace.gates(prompt)[1:] for prompt in prompts])
    token = np.concatenate([trace.tokens(prompt)[1:] for prompt in prompts])
    confidence = np.concatenate([trace.confidences(prompt)[1:] for prompt in prompts])
    good = good_exits(token == token[:, -1:], confidence)
    return [(depth, score[:, at], good[:, at]) for at, depth in enumerate(trace.depths)]
