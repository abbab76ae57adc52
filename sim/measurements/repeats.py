"""Repeats of timed runs: what a shared machine lets one say about them.

Within one repeat every design runs on a prompt in turn, within seconds of each other, so that a machine that is slow for a while slows them
all: ratios are taken repeat by repeat, and the median of these is far steadier than the ratio of two medians.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import pandas as pd

Seconds: TypeAlias = "pd.Series[float]"
"""Of the repeats of one design on one prompt, by the number of the repeat."""


def ratios(over: Seconds, under: Seconds) -> Seconds:
    """Ratios over / under in every repeat that both have; empty where they have none in common."""
    return (over / under).dropna()


def halves_differ(values: Seconds) -> float:
    """The median over even repeats / the median over odd ones - 1: what measuring again moves. NaN of a single repeat."""
    even = values.index.to_numpy() % 2 == 0
    if even.all() or not even.any():
        return math.nan
    return float(values[even].median() / values[~even].median() - 1)
