"""The limits of one design: where it stops paying, how bad it may get, and what its answer hangs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import (
    DesignError,
    InputError,
    LatencyError,
    ProfileError,
)
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.hardware.attention_latency import Attending
from adadecode.sim.limits.agreement_margin import UnawareMargin, aware_margin, unaware_margin
from adadecode.sim.limits.bandwidth import over_bandwidths
from adadecode.sim.limits.break_even import BreakEven, break_evens
from adadecode.sim.limits.concurrency import USERS, Load, largest_batch, loads
from adadecode.sim.limits.latency_rebuild import LatencyRebuilder
from adadecode.sim.limits.neighbours import neighbours
from adadecode.sim.limits.perturbation import used_depths, with_silent_heads, with_wrong_heads
from adadecode.sim.limits.sensitivity import ASSUMPTIONS, Perturbation, perturb
from adadecode.sim.limits.time_breakdown import Bill, Billing
from adadecode.sim.prediction.scenario import Scenario
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.synthetic.head_model import SyntheticError
from adadecode.sim.synthetic.required_agreement import Needed


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Break-even by agreement on heads fitted to the trace. depths: of the heads asked; agreement: as fitted."""

    depths: tuple[int, ...]
    agreement: tuple[float, ...]
    needed: Needed


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The speedup for several users at once. largest: tokens at once up to which latencies are known; rows of more users are not told."""

    rows: tuple[Load, ...]
    largest: int
    notes: tuple[str, ...]

    def pays_up_to(self, bound: str) -> int:
        """The most users up to which it pays for certain: in the best case ("together") or in the worst ("alone"); 0 where it does not even for one."""
        paid = 0
        for row in self.rows:
            if (row.alone if bound == "alone" else row.together[0]) <= 1:
                break
            paid = row.users
        return paid

    @property
    def stops_at(self) -> int | None:
        """The fewest users for whom it does not pay even in the best case; None where none were found."""
        return next((row.users for row in self.rows if row.together[1] <= 1), None)


@dataclass(frozen=True, kw_only=True)
class Bandwidths:
    """speedups: by factor on the bandwidth. break_evens: factors at which the speedup is 1."""

    speedups: Mapping[float, float]
    break_evens: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """How bad it may get, as seconds per token over vanilla's.

    discarded: as sure as recorded, and every draft wrong. in_vain: every head is asked, and none is ever sure; None where the policy asks for no
    confidence. prompt, domain, speedup: of the recorded prompt with the lowest. losing: how many prompts are slower than vanilla.
    """

    discarded: float
    in_vain: float | None
    prompt: int
    domain: str
    speedup: float
    losing: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Limits:
    """All of it. bill: the design's first, then its neighbours'. corners: the same at every corner of the device's intervals, where it has some.

    fitted, bandwidths: or why nothing is told.
    """

    scenario: Scenario
    design: Design
    prompts: int
    bill: Bill
    corners: Mapping[str, Bill]
    costs: tuple[BreakEven, ...]
    unaware: UnawareMargin
    fitted: Fitted | str
    batches: Batches
    bandwidths: Bandwidths | str
    worst: Worst
    change: float
    perturbations: tuple[Perturbation, ...]

    @property
    def cases(self) -> dict[str, NDArray[np.float64]]:
        """[designs] speedups by what was changed, in words."""
        off = {
            f"{ASSUMPTIONS[one.assumption]} {100 * one.change:+g} %": one.speedups
            for one in self.perturbations
        }
        return off | {f"corner {corner}": bill.speedups() for corner, bill in self.corners.items()}

    @property
    def designs(self) -> tuple[Design, ...]:
        """The design and its neighbours, as in the bills."""
        return self.bill.work.designs[1:]

    @property
    def speedup(self) -> float:
        """Now."""
        return float(self.bill.speedups()[0])


def find_limits(
    scenario: Scenario,
    design: Design,
    prompts: Sequence[int],
    *,
    change: float = 0.1,
) -> Limits:
    """change: of each assumption, either way.

    Raises DesignError for a design that has no limits to find and for a change outside (0, 1), ProfileError where no prompt has a second
    token, LatencyError.
    """
    check_limited(design, scenario)
    if not 0 < change < 1:
        raise DesignError(
            f"a change is a share above 0 and below 1, got {change:g}: 0.1 for a tenth either way"
        )
    heard = tuple(prompt for prompt in prompts if scenario.trace.n_output(prompt) > 1)
    if not heard:
        raise ProfileError(
            f"nothing to predict: none of {len(prompts)} prompts has a second output token: profile longer outputs"
        )
    replay, tables = CompiledReplay.of(scenario.trace), scenario.latencies.tables
    billings = {
        corner: Billing.of(replay, heard, table, design.cap + 1) for corner, table in tables.items()
    }
    billing = billings.pop("middle")
    designs = (
        design,
        *(
            other
            for other in neighbours(design, scenario.trace.depths)[1:]
            if _is_priced(billing, other)
        ),
    )
    bill = billing.bill(designs)
    corners = {corner: other.bill(designs) for corner, other in billings.items()}
    rebuilder = _rebuilder(scenario)
    attending = Attending(scenario.latencies.middle, _window(scenario, rebuilder))
    return Limits(
        scenario=scenario,
        design=design,
        prompts=len(heard),
        bill=bill,
        corners=corners,
        costs=tuple(break_evens(bill, corners.values())),
        unaware=unaware_margin(billing, design),
        fitted=_fitted(scenario, heard, design),
        batches=_batches(
            billing,
            scenario,
            design,
            rebuilder,
            attending.window,
            named=scenario.options.device is not None or scenario.latencies.basis != "measured",
        ),
        bandwidths=rebuilder if isinstance(rebuilder, str) else _bandwidths(billing, design, rebuilder),
        worst=_worst(billing, design),
        change=change,
        perturbations=tuple(perturb(billing, designs, change, attending=attending, cap=design.cap)),
    )


def check_limited(design: Design, scenario: Scenario) -> None:
    """Raises DesignError unless a design has heads of this text, and asks one of them."""
    if design.policy is Policy.VANILLA:
        raise DesignError(
            "vanilla is what others are compared with, and has no limits: choose another policy"
        )
    if not design.placement:
        raise DesignError("wanted one head or more, got none: name their depths with --heads")
    scenario.trace.require(design.placement)
    if not used_depths(design, scenario.trace.n_layers):
        raise DesignError(
            f"{design.label} asks no head, for nothing is surer than 1, and is as fast as vanilla: choose a gamma below 1"
        )


def _is_priced(billing: Billing, design: Design) -> bool:
    """Whether all that a design does was measured."""
    try:
        billing.bill([design])
    except LatencyError:
        return False
    return True


def _rebuilder(scenario: Scenario) -> LatencyRebuilder | str:
    """How to make the latencies again, or why they cannot be."""
    try:
        return LatencyRebuilder.of(scenario)
    except InputError as error:
        return f"which part of a measured time is reading cannot be told without the device's bandwidth and FLOP/s: {error}"


def _window(scenario: Scenario, rebuilder: LatencyRebuilder | str) -> int | None:
    """Return the positions that a layer sees at most; None for all, or where it is unknown."""
    if isinstance(rebuilder, LatencyRebuilder):
        return rebuilder.window
    origin = scenario.sources.origin
    if scenario.measured is not None and origin is not None and origin.shape is not None:
        return origin.shape.sliding_window
    return None


def _fitted(scenario: Scenario, prompts: Sequence[int], design: Design) -> Fitted | str:
    try:
        agreement, needed = aware_margin(scenario.trace, prompts, design, scenario.latencies.middle)
    except SyntheticError as error:
        return str(error)
    return Fitted(depths=used_depths(design, scenario.trace.n_layers), agreement=agreement, needed=needed)


def _batches(
    billing: Billing,
    scenario: Scenario,
    design: Design,
    rebuilder: LatencyRebuilder | str,
    window: int | None,
    *,
    named: bool,
) -> Batches:
    """As far as latencies are known: where no device was named, as far as they were measured."""
    latency, others = scenario.latencies.middle, scenario.latencies
    if named and isinstance(rebuilder, LatencyRebuilder):
        most = (design.cap + 1) * max(USERS)
        others = rebuilder.latencies(rebuilder.device, min(most, rebuilder.reach or most))
    wider = others.middle
    rows = tuple(loads(billing.replay, billing.prompts, design, latency, wider, window=window))
    largest = largest_batch(wider)
    notes = [
        "no waiting, prompts or memory are counted (adadecode-sim memory --sequences tells the last)"
    ]
    notes += [note for note in others.notes if note not in scenario.notes]
    if any(row.tokens > largest for row in rows):
        notes.append(
            f"passes over more than {largest} tokens are not known here: the lower bound runs them as several of {largest} at most, the upper one as if "
            "more took no longer"
        )
    if rows[-1].users < max(USERS):
        hint = (
            ""
            if named or isinstance(rebuilder, str)
            else f"; --to {rebuilder.device.name} would hold the efficiency of the last one"
        )
        notes.append(
            f"nothing is told of more than {rows[-1].users} users: passes are known up to {largest} tokens{hint}"
        )
    if not Attending(wider, window).is_known:
        notes.append(
            "latencies are known at one context alone, so that keys and values are counted as if all users shared one cache"
        )
    return Batches(rows=rows, largest=largest, notes=tuple(notes))


def _bandwidths(billing: Billing, design: Design, rebuilder: LatencyRebuilder) -> Bandwidths | str:
    try:
        curve, crossings = over_bandwidths(
            billing.replay,
            billing.prompts,
            design,
            rebuilder.device,
            lambda device: rebuilder.latencies(device, design.cap + 1).middle,
        )
    except InputError as error:
        return str(error)
    return Bandwidths(speedups=curve, break_evens=tuple(crossings))


def _worst(billing: Billing, design: Design) -> Worst:
    def ratio(replay: CompiledReplay) -> float:
        return 1 / float(billing.bill([design], replay=replay).speedups()[0])

    each = {
        prompt: float(billing.bill([design], prompts=[prompt]).speedups()[0])
        for prompt in billing.prompts
    }
    prompt = min(each, key=lambda one: each[one])
    return Worst(
        discarded=ratio(with_wrong_heads(billing.replay, wrong=1.0)),
        in_vain=ratio(with_silent_heads(billing.replay)) if design.asks_confidence else None,
        prompt=prompt,
        domain=billing.replay.domains[billing.replay.prompts.index(prompt)],
        speedup=each[prompt],
        losing=sum(speedup < 1 for speedup in each.values()),
    )
