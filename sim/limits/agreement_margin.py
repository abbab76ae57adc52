"""How much less right the heads may be until a design stops paying: two ways to be wrong, of which the truth is somewhere between.

unaware  The heads are wrong where they were right, and as sure as before: drafts are rejected that were accepted. On the recorded trace itself.
aware    The text is harder, and the heads know: they are as sure of what they get wrong as they ever were of that, so they draft less. On heads
         fitted to the trace (`adadecode.sim.synthetic.trace_fitting`), whose tokens all become harder (`adadecode.sim.synthetic.required_agreement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import brentq

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.limits.perturbation import used_depths, with_wrong_heads
from adadecode.sim.limits.sensitivity import DRAWS, mean_bill
from adadecode.sim.limits.time_breakdown import Bill, Billing
from adadecode.sim.synthetic.required_agreement import Needed, needed_agreement
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt

OUTPUTS = 1000
"""Drawn of a fitted text, at most: on the demo profile speedups then come out within 3 %, as near as fits are, and twice as fast as from all of its text."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of some replays of one design. accepted, discarded: of drafts, 0 where there are none; rejected with the first wrong draft is all after it."""

    speedup: float
    accepted: float
    drafts_per_token: float

    @property
    def discarded(self) -> float:
        """Share of drafts."""
        return 1 - self.accepted if self.drafts_per_token else 0.0


@dataclass(frozen=True, kw_only=True)
class UnawareMargin:
    """wrong: the share of right answers that may be wrong until the speedup is 1; right: the share of wrong ones that would have to be right, where the design does not pay now.

    Both None where no share will do. now, then: as recorded, and at break-even.
    """

    now: Rates
    wrong: float | None = None
    right: float | None = None
    then: Rates | None = None


def unaware_margin(billing: Billing, design: Design) -> UnawareMargin:
    """By replaying the recorded trace with other mistakes (`adadecode.sim.limits.perturbation`); the mean over DRAWS. Not told: mistakes that follow one another more than chance."""

    def bills(share: float) -> list[Bill]:
        shares = {"wrong": max(-share, 0.0), "right": max(share, 0.0)}
        return [
            billing.bill([design], replay=with_wrong_heads(billing.replay, **shares, seed=seed))
            for seed in range(DRAWS)
        ]

    def gain(share: float) -> float:
        return float(mean_bill(bills(share))[0]) - 1

    now = rates([billing.bill([design])])
    end = -1.0 if now.speedup > 1 else 1.0
    if now.speedup == 1 or (gain(end) > 0) == (now.speedup > 1):
        return UnawareMargin(now=now)
    found = brentq(gain, min(end, 0.0), max(end, 0.0), xtol=1e-3)
    wrong, right = (-found, None) if end < 0 else (None, found)
    return UnawareMargin(now=now, wrong=wrong, right=right, then=rates(bills(found)))


def rates(bills: Sequence[Bill]) -> Rates:
    """Of the first design, over all draws together."""
    drafts, accepted, tokens = (
        sum(int(bill.work.tally(name)[1]) for bill in bills)
        for name in ("drafts", "accepted", "tokens")
    )
    firsts = sum(len(bill.work.prefills) for bill in bills)
    return Rates(
        speedup=float(mean_bill(bills)[0]),
        accepted=accepted / max(drafts, 1),
        drafts_per_token=drafts / (tokens - firsts),
    )


def aware_margin(
    trace: Trace, prompts: Sequence[int], design: Design, latency: LatencyTable
) -> tuple[tuple[float, ...], Needed]:
    """Agreement of the heads that are asked, as fitted, and what break-even needs; texts as long as these prompts'.

    Raises SyntheticError where there is too little text to fit heads to.
    """
    heads = used_depths(design, trace.n_layers)
    model = fit_trace(trace.mapped({depth: depth for depth in heads}, trace.n_layers), prompts)
    sizes = [
        SyntheticPrompt("fitted", trace.n_prompt(prompt), trace.n_output(prompt))
        for prompt in prompts
        if trace.n_output(prompt) > 1
    ]
    gammas = [
        gamma
        for depth, gamma in zip(design.placement, design.gammas, strict=True)
        if depth in heads
    ]
    alone = Design.of(design.policy, placement=heads, gamma=gammas, cap=design.cap)
    return model.agreement, needed_agreement(
        model,
        latency,
        [alone],
        1.0,
        sizes[:: math.ceil(sum(one.n_output for one in sizes) / OUTPUTS)],
    )
