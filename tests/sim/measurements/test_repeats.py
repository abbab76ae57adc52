"""Ratios in turn, and how far one half of the repeats is from the other."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from adadecode.sim.measurements.repeats import halves_differ, ratios


def seconds(**values: float) -> pd.Series[float]:
    return pd.Series({int(name[1:]): value for name, value in values.items()})


def test_a_ratio_is_taken_within_each_repeat() -> None:
    """A machine that is three times slower in repeat 1 slows both alike."""
    found = ratios(seconds(r0=2.0, r1=6.0, r2=2.2), seconds(r0=1.0, r1=3.0, r2=1.0))
    assert found.to_dict() == {0: 2.0, 1: 2.0, 2: 2.2}


def test_only_common_repeats_count() -> None:
    """Repeats are matched by number, not by place."""
    assert ratios(seconds(r1=4.0, r2=9.0), seconds(r0=1.0, r1=2.0)).to_dict() == {1: 2.0}


def test_without_common_repeats_there_is_no_ratio() -> None:
    """Two medians from different times are another thing."""
    assert ratios(seconds(r0=4.0, r2=6.0), seconds(r1=2.0, r3=3.0)).empty


def test_halves_are_even_and_odd_repeats() -> None:
    """Medians of 1, 3 and of 4: -0.5."""
    assert halves_differ(seconds(r0=1.0, r1=4.0, r2=3.0)) == -0.5


def test_one_repeat_has_no_halves() -> None:
    """Repeats of one half alone have no other half either."""
    assert math.isnan(halves_differ(seconds(r0=1.0)))
    assert math.isnan(halves_differ(seconds(r1=1.0, r3=2.0)))


def test_ratios_in_turn_are_steadier_than_ratios_of_medians() -> None:
    """With noise that both runs of a repeat share, which is why the recorder runs them in turn."""
    random = np.random.default_rng(0)
    shared = random.lognormal(0, 0.3, (200, 5))
    over, under = (
        2 * shared * random.lognormal(0, 0.02, (200, 5)),
        shared * random.lognormal(0, 0.02, (200, 5)),
    )
    paired = [ratios(pd.Series(a), pd.Series(b)).median() for a, b in zip(over, under, strict=True)]
    medians = np.median(over, axis=1) / np.median(under, axis=1)
    assert np.std(paired) < 0.7 * np.std(medians)
