"""Compare repeats of timed runs on a machine that others share.

Within one repeat every design runs on a prompt in turn, within seconds of each other, so that a
machine that is slow for a while slows them all. Ratios are taken repeat by repeat, and their median
is far steadier than the ratio of two medians.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import pandas as pd

Seconds: TypeAlias = "pd.Series[float]"
"""Seconds of one design on one prompt, by the number of the repeat."""


def ratios(over: Seconds, under: Seconds) -> Seconds:
    """Return over / under for every repeat that both have; empty where they share none."""
    return (over / under).dropna()


def halves_differ(values: Seconds) -> float:
    """Return how far the even repeats differ from the odd ones: what measuring again moves.

    It is the median over even repeats / the median over odd ones - 1, and NaN without both.
    """
    even = values.index.to_numpy() % 2 == 0
    if even.all() or not even.any():
        return math.nan
    return float(values[even].median() / values[~even].median() - 1)
