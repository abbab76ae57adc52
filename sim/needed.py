"""What agreement heads would need for a given speedup: all depths moved together until the replay gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from profiles.latency import LatencyTable
from profiles.trace import Trace
from sim.compiled import CompiledReplay
from sim.design import Design, Policy
from sim.head_model import HeadModel, SyntheticError
from sim.prices import PARTS, PriceList
from sim.synthetic import Prompt, synthetic_trace

MOST = 3.0
"""How far agreement is moved either way, in standard deviations of ease: 0.7 becomes 0.007 or 0.9998."""

_TRIED = 7
"""Shifts tried before a root is sought, so that the range is known and a crossing bracketed."""

_FOLLOWED = 2_000
"""Outputs whose wrong drafts are followed, as in `sim.fitting`."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What a speedup needs.

    wanted: the speedup. lowest, highest: what moving the agreement can give. shift: of ease, in standard deviations; None where wanted lies outside, as are
    model (the heads it needs) and row (of `Evaluation`, for the best of the designs with these heads). now: the same row with the heads as given.
    """

    wanted: float
    lowest: float
    highest: float
    now: dict[str, Any]
    shift: float | None = None
    model: HeadModel | None = None
    row: dict[str, Any] | None = None


@dataclass(kw_only=True)
class Evaluation:
    """Evaluates some designs on one device, on many traces of the same prompts."""

    latency: LatencyTable
    designs: Sequence[Design]
    _prices: PriceList | None = field(init=False, default=None)

    def rows(self, trace: Trace, prompts: Sequence[int] | None = None) -> pd.DataFrame:
        """A row for each design, on these prompts (all, by default): design, tpot_s, speedup, early_rate, reject_rate, tokens_per_round, as in `sim.predict.Prediction`.

        Raises DesignError, and LatencyError for work that was not measured.
        """
        asked = [Design(policy=Policy.VANILLA), *self.designs]
        work = CompiledReplay.of(trace).count(asked, prompts, contexts=self.latency.contexts)
        if self._prices is None or not np.array_equal(self._prices.marks, work.marks):
            most = 1 + max(design.cap for design in asked)
            self._prices = PriceList(latency=self.latency, n_layers=trace.n_layers, marks=work.marks, max_tokens=most)
        tokens = work.tally("tokens") - len(work.prefills)
        tpot = self._prices.price(work)[:, : len(PARTS) - 1].sum(axis=1) / tokens
        drafts = work.tally("drafts")
        columns = {
            "design": [design.label for design in asked],
            "tpot_s": tpot,
            "speedup": tpot[0] / tpot,
            "early_rate": drafts / np.maximum(work.tally("tested"), 1),
            "reject_rate": (drafts - work.tally("accepted")) / np.maximum(drafts, 1),
            "tokens_per_round": tokens / np.maximum(work.tally("rounds"), 1),
        }
        return pd.DataFrame(columns).iloc[1:].reset_index(drop=True)


def needed_agreement(
    model: HeadModel, latency: LatencyTable, designs: Sequence[Design], speedup: float, prompts: Sequence[Prompt], *, seed: int = 0
) -> Needed:
    """Move the agreement of all depths together (`HeadModel.shifted`) until the best of the designs gives this speedup.

    The same random numbers throughout; the smallest shift where several would do. Raises SyntheticError for a speedup that is none, DesignError,
    LatencyError.
    """
    if not 0 < speedup < 1000:
        raise SyntheticError(f"a speedup is a number above 0, got {speedup:g}: 1.5 for half as fast again")
    evaluation = Evaluation(latency=latency, designs=designs)
    known: dict[float, dict[str, Any]] = {}

    def best(shift: float) -> dict[str, Any]:
        if shift not in known:
            trace = synthetic_trace({prompts[0].domain: model.shifted(shift)}, prompts, seed=seed, followed=_FOLLOWED)
            row = max(evaluation.rows(trace).to_dict("records"), key=lambda row: row["speedup"])
            known[shift] = {str(name): value for name, value in row.items()}
        return known[shift]

    shifts = np.linspace(-MOST, MOST, _TRIED).tolist()
    reached = [best(shift)["speedup"] for shift in shifts]
    lowest, highest = min(reached), max(reached)
    if not lowest <= speedup <= highest:
        return Needed(wanted=speedup, lowest=lowest, highest=highest, now=best(0.0))
    above = next(place for place, got in enumerate(reached) if got >= speedup)
    found = shifts[above]
    if above and reached[above] > speedup:
        found = brentq(lambda shift: best(shift)["speedup"] - speedup, shifts[above - 1], shifts[above], xtol=1e-3)
    return Needed(wanted=speedup, lowest=lowest, highest=highest, now=best(0.0), shift=found, model=model.shifted(found), row=best(found))
