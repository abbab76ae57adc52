"""What agreement heads would need for a given speedup.

All depths are moved together until the replay gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq

from adadecode.profiles.latency import LatencyTable
from adadecode.sim.core.design import Design
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError
from adadecode.sim.synthetic.rate_fitting import FOLLOWED, evaluated
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, synthetic_trace

MOST = 3.0
"""How far agreement is moved either way, in standard deviations of ease.

An agreement of 0.7 becomes 0.007 or 0.9998.
"""

_TRIED = 7
"""Shifts tried before a root is sought, so that the range is known and a crossing bracketed."""

FIGURES = ["design", "tpot_s", "speedup", "early_rate", "reject_rate", "tokens_per_round"]
"""Figures of a design, as in `adadecode.sim.prediction.predictor.Prediction`."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What a speedup needs.

    Attributes:
        wanted: The speedup.
        lowest: The lowest speedup that moving the agreement can give.
        highest: The highest one.
        now: FIGURES of the best of the designs, with the heads as they are.
        shift: Of ease, in standard deviations; None where ``wanted`` lies outside.
        model: The heads that are needed; None likewise.
        row: FIGURES of the best of the designs with these heads; None likewise.
    """

    wanted: float
    lowest: float
    highest: float
    now: dict[str, Any]
    shift: float | None = None
    model: HeadModel | None = None
    row: dict[str, Any] | None = None


def needed_agreement(
    model: HeadModel,
    latency: LatencyTable,
    designs: Sequence[Design],
    speedup: float,
    prompts: Sequence[SyntheticPrompt],
    *,
    seed: int = 0,
) -> Needed:
    """Move the agreement of all depths together until the best of the designs gives a speedup.

    Heads that no design uses are not drawn. The same random numbers are used throughout. Where
    several shifts (`HeadModel.shifted`) would do, it is the smallest.

    Args:
        model: The heads as they are.
        latency: What work takes.
        designs: The designs of which one has to give the speedup.
        speedup: What is wanted.
        prompts: Sizes of the texts to draw.
        seed: Of the draws.

    Raises:
        SyntheticError: If the speedup makes no sense, or there is no design.
        DesignError: If a design uses a head that the model does not have.
        LatencyError: If a latency is not known.
    """
    if not designs:
        raise SyntheticError(
            "wanted a design or more to reach a speedup with, got none: give a gamma"
        )
    if not 0 < speedup < 1000:
        raise SyntheticError(
            f"a speedup is a number above 0, got {speedup:g}: 1.5 for half as fast again"
        )
    reached = _ByShift(
        model=model.only([depth for design in designs for depth in design.placement]),
        latency=latency,
        designs=designs,
        prompts=prompts,
        seed=seed,
    )
    shifts = np.linspace(-MOST, MOST, _TRIED).tolist()
    speedups = [reached.best(shift)["speedup"] for shift in shifts]
    needed = Needed(
        wanted=speedup, lowest=min(speedups), highest=max(speedups), now=reached.best(0.0)
    )
    if not needed.lowest <= speedup <= needed.highest:
        return needed
    above = next(place for place, got in enumerate(speedups) if got >= speedup)
    shift = shifts[above]
    if above and speedups[above] > speedup:
        shift = brentq(
            lambda tried: reached.best(tried)["speedup"] - speedup,
            shifts[above - 1],
            shifts[above],
            xtol=1e-3,
        )
    return replace(needed, shift=shift, model=model.shifted(shift), row=reached.best(shift))


@dataclass(kw_only=True)
class _ByShift:
    """The best of some designs where the agreement of the heads is moved, each shift once."""

    model: HeadModel
    latency: LatencyTable
    designs: Sequence[Design]
    prompts: Sequence[SyntheticPrompt]
    seed: int
    known: dict[float, dict[str, Any]] = field(default_factory=dict)

    def best(self, shift: float) -> dict[str, Any]:
        """Return FIGURES of the design with the highest speedup."""
        if shift not in self.known:
            trace = synthetic_trace(
                {self.prompts[0].domain: self.model.shifted(shift)},
                self.prompts,
                seed=self.seed,
                followed=FOLLOWED,
                cap=max(design.cap for design in self.designs),
            )
            rows = evaluated(trace, self.latency, self.designs)[FIGURES].to_dict("records")
            row = max(rows, key=lambda one: one["speedup"])
            self.known[shift] = {str(name): value for name, value in row.items()}
        return self.known[shift]
