"""How much less right the heads may be until a design stops paying.

There are two ways to be wrong, and the truth is somewhere between:

unaware
    The heads are wrong where they were right, and as confident as before: drafts are rejected that
    were accepted. This is tried on the recorded trace itself.
aware
    The text is harder, and the heads know: they are as confident of what they get wrong as they
    ever were of that, so that they draft less. This is tried on heads fitted to the trace
    (`adadecode.sim.synthetic.trace_fitting`), whose tokens all become harder
    (`adadecode.sim.synthetic.required_agreement`).
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
"""Most outputs to draw of a fitted text.

On the demo profile speedups then come out within 3 %, as near as fits are, and twice as fast as
from all of its text.
"""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of some replays of one design.

    Attributes:
        speedup: Over vanilla.
        accepted: Share of the drafts that held; 0 without drafts. With the first wrong draft, all
            after it are rejected.
        drafts_per_token: Drafts per output token after the first.
    """

    speedup: float
    accepted: float
    drafts_per_token: float

    @property
    def discarded(self) -> float:
        """Share of the drafts that did not hold; 0 without drafts."""
        return 1 - self.accepted if self.drafts_per_token else 0.0


@dataclass(frozen=True, kw_only=True)
class UnawareMargin:
    """How much less right unaware heads may be.

    Attributes:
        now: The rates as recorded.
        wrong: Share of the right answers that may become wrong until the speedup is 1; None where
            no share will do.
        right: Share of the wrong answers that would have to become right, where the design does
            not pay now; None where it does, and where no share will do.
        then: The rates at break-even.
    """

    now: Rates
    wrong: float | None = None
    right: float | None = None
    then: Rates | None = None


def unaware_margin(billing: Billing, design: Design) -> UnawareMargin:
    """Find the margin by replaying the recorded trace with other mistakes; the mean over DRAWS.

    Mistakes that follow one another more often than by chance are not covered.

    Args:
        billing: Makes the bills.
        design: The design.
    """

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
    """Return the rates of the first design, over all draws together."""
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
    """Find the margin on heads fitted to a trace.

    Args:
        trace: The recorded text.
        prompts: The prompts to fit to; texts as long as theirs are drawn.
        design: The design.
        latency: What work takes.

    Returns:
        Agreement of the heads that are used, as fitted, and what break-even needs.

    Raises:
        SyntheticError: If there is too little text to fit heads to.
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
    gates = [design.gate(depth) for depth in heads]
    alone = Design.of(design.policy, placement=heads, gamma=gammas, cap=design.cap, gate=gates)
    return model.agreement, needed_agreement(
        model,
        latency,
        [alone],
        1.0,
        sizes[:: math.ceil(sum(one.n_output for one in sizes) / OUTPUTS)],
    )
