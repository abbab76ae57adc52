"""The limits of one design: where it stops paying, how bad it may get, what decides the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from adadecode.sim.limits.perturbation import (
    used_depths,
    with_ideal_gates,
    with_open_gates,
    with_silent_heads,
    with_wrong_heads,
)
from adadecode.sim.limits.sensitivity import ASSUMPTIONS, Perturbation, perturb
from adadecode.sim.limits.time_breakdown import Bill, Billing
from adadecode.sim.prediction.scenario import Scenario
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.synthetic.head_model import SyntheticError
from adadecode.sim.synthetic.required_agreement import Needed


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Break-even by agreement, on heads fitted to the trace.

    Attributes:
        depths: Depths of the heads that the design uses.
        agreement: Their agreement, as fitted.
        needed: What break-even needs.
    """

    depths: tuple[int, ...]
    agreement: tuple[float, ...]
    needed: Needed


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The speedup for several users at once.

    Attributes:
        rows: By number of users.
        largest: Tokens at once up to which latencies are known; more users have no row.
        notes: What was assumed, a sentence each.
    """

    rows: tuple[Load, ...]
    largest: int
    notes: tuple[str, ...]

    def pays_up_to(self, bound: str) -> int:
        """Return the most users up to which the design pays for certain; 0 where for none.

        Args:
            bound: In the best case ("together") or in the worst ("alone").
        """
        paid = 0
        for row in self.rows:
            if (row.alone if bound == "alone" else row.together[0]) <= 1:
                break
            paid = row.users
        return paid

    @property
    def stops_at(self) -> int | None:
        """The fewest users for whom it does not pay even in the best case; None without any."""
        return next((row.users for row in self.rows if row.together[1] <= 1), None)


@dataclass(frozen=True, kw_only=True)
class Bandwidths:
    """The speedup on devices that differ in bandwidth alone.

    Attributes:
        speedups: By factor on the bandwidth.
        break_evens: Factors at which the speedup is 1.
    """

    speedups: Mapping[float, float]
    break_evens: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """How bad it may get, as seconds per token over vanilla's.

    Attributes:
        discarded: With heads as confident as recorded, all let through by their gates, and every
            draft wrong.
        in_vain: With every head checked, and none ever confident; None where the policy needs no
            confidence.
        prompt: The recorded prompt with the lowest speedup.
        domain: Its domain.
        speedup: Its speedup.
        losing: How many prompts are slower than vanilla.
    """

    discarded: float
    in_vain: float | None
    prompt: int
    domain: str
    speedup: float
    losing: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Limits:
    """The limits of one design.

    Attributes:
        scenario: What they rest on.
        design: The design.
        prompts: Number of prompts with a second output token.
        bill: What the design and its neighbours spend their time on.
        corners: The same at every corner of the device's intervals, where it has some.
        costs: How much costlier each kind of work may become.
        unaware: How much less right the heads may be, if they do not know.
        fitted: How much less right they may be, if they know; or why that is unknown.
        batches: The speedup for several users.
        bandwidths: The speedup at other bandwidths; or why that is unknown.
        worst: How bad it may get.
        ideal_gates: The speedup if its gates let a head be asked only where it would draft
            rightly, and always there; None for a design that asks no gate.
        change: How far each assumption was changed, as a share.
        perturbations: What that does to the design and its neighbours.
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
    ideal_gates: float | None
    change: float
    perturbations: tuple[Perturbation, ...]

    @property
    def cases(self) -> dict[str, NDArray[np.float64]]:
        """Speedups by what was changed, in words; shape ``(designs,)`` each."""
        off = {
            f"{ASSUMPTIONS[one.assumption]} {100 * one.change:+g} %": one.speedups
            for one in self.perturbations
        }
        return off | {f"corner {corner}": bill.speedups() for corner, bill in self.corners.items()}

    @property
    def designs(self) -> tuple[Design, ...]:
        """The design and its neighbours, in the order of the bills."""
        return self.bill.work.designs[1:]

    @property
    def speedup(self) -> float:
        """The speedup of the design now."""
        return float(self.bill.speedups()[0])


def find_limits(
    scenario: Scenario,
    design: Design,
    prompts: Sequence[int],
    *,
    change: float = 0.1,
) -> Limits:
    """Find the limits of one design.

    Args:
        scenario: What the design is predicted on.
        design: The design.
        prompts: What to replay.
        change: How far each assumption is changed either way, as a share.

    Raises:
        DesignError: If the design has no limits to find, or ``change`` is outside (0, 1).
        ProfileError: If no prompt has a second output token.
        LatencyError: If a latency is not known.
    """
    check_limited(design, scenario)
    if not 0 < change < 1:
        raise DesignError(
            f"a change is a share above 0 and below 1, got {change:g}: 0.1 for a tenth either way"
        )
    replayed = tuple(prompt for prompt in prompts if scenario.trace.n_output(prompt) > 1)
    if not replayed:
        raise ProfileError(
            f"nothing to predict: none of {len(prompts)} prompts has a second output token: "
            "profile longer outputs"
        )
    replay, tables = CompiledReplay.of(scenario.trace), scenario.latencies.tables
    billings = {
        corner: Billing.of(replay, replayed, table, design.cap + 1)
        for corner, table in tables.items()
    }
    billing = billings.pop("middle")
    others = neighbours(design, scenario.trace.depths)[1:]
    designs = (design, *(other for other in others if _is_priced(billing, other)))
    bill = billing.bill(designs)
    corners = {corner: other.bill(designs) for corner, other in billings.items()}
    rebuilder = _rebuilder(scenario)
    attending = Attending(scenario.latencies.middle, _window(scenario, rebuilder))
    return Limits(
        scenario=scenario,
        design=design,
        prompts=len(replayed),
        bill=bill,
        corners=corners,
        costs=tuple(break_evens(bill, corners.values())),
        unaware=unaware_margin(billing, design),
        fitted=_fitted(scenario, replayed, design),
        batches=_batches(billing, scenario, design, rebuilder, attending.window),
        bandwidths=_bandwidths(billing, design, rebuilder),
        worst=_worst(billing, design),
        ideal_gates=_ideal_gates(billing, design),
        change=change,
        perturbations=tuple(perturb(billing, designs, change, attending=attending, cap=design.cap)),
    )


def check_limited(design: Design, scenario: Scenario) -> None:
    """Check that a design has limits: heads of this text, of which it uses one.

    Raises:
        DesignError: If it has none.
    """
    if design.policy is Policy.VANILLA:
        raise DesignError(
            "vanilla is what others are compared with, and has no limits: choose another policy"
        )
    if not design.placement:
        raise DesignError("wanted one head or more, got none: name their depths with --heads")
    scenario.trace.require(design.placement, gates=bool(design.gates))
    if not used_depths(design, scenario.trace.n_layers):
        raise DesignError(
            f"{design.label} asks no head, for nothing is surer than 1, and is as fast as vanilla: "
            "choose a gamma below 1"
        )


def _is_priced(billing: Billing, design: Design) -> bool:
    """Return whether all that a design does was measured."""
    try:
        billing.bill([design])
    except LatencyError:
        return False
    return True


def _rebuilder(scenario: Scenario) -> LatencyRebuilder | str:
    """Return how to make the latencies again, or why they cannot be."""
    try:
        return LatencyRebuilder.of(scenario)
    except InputError as error:
        return (
            "which part of a measured time is reading cannot be told without the device's "
            f"bandwidth and FLOP/s: {error}"
        )


def _window(scenario: Scenario, rebuilder: LatencyRebuilder | str) -> int | tuple[int, ...] | None:
    """Return the positions that a layer sees at most; None for all, or where it is unknown."""
    if isinstance(rebuilder, LatencyRebuilder):
        return rebuilder.window
    origin = scenario.sources.origin
    if scenario.measured is not None and origin is not None and origin.shape is not None:
        return origin.shape.sight
    return None


def _fitted(scenario: Scenario, prompts: Sequence[int], design: Design) -> Fitted | str:
    try:
        agreement, needed = aware_margin(scenario.trace, prompts, design, scenario.latencies.middle)
    except SyntheticError as error:
        return str(error)
    return Fitted(
        depths=used_depths(design, scenario.trace.n_layers), agreement=agreement, needed=needed
    )


def _batches(
    billing: Billing,
    scenario: Scenario,
    design: Design,
    rebuilder: LatencyRebuilder | str,
    window: int | tuple[int, ...] | None,
) -> Batches:
    """Return the speedup for several users, as far as latencies are known.

    Where no device was named, that is as far as they were measured.
    """
    latency, others = scenario.latencies.middle, scenario.latencies
    named = scenario.options.device is not None or scenario.latencies.basis != "measured"
    if named and isinstance(rebuilder, LatencyRebuilder):
        most = (design.cap + 1) * max(USERS)
        others = rebuilder.latencies(rebuilder.device, min(most, rebuilder.reach or most))
    wider = others.middle
    rows = tuple(loads(billing.replay, billing.prompts, design, latency, wider, window=window))
    largest = largest_batch(wider)
    notes = [note for note in others.notes if note not in scenario.notes]
    hint = ""
    if not named and isinstance(rebuilder, LatencyRebuilder):
        hint = f"; --to {rebuilder.device.name} would hold the efficiency of the last one"
    notes += _batch_notes(rows, largest, hint)
    if not Attending(wider, window).is_known:
        notes.append(
            "latencies are known at one context alone, so that keys and values are counted as if "
            "all users shared one cache"
        )
    counted = (
        "no waiting, prompts or memory are counted (adadecode-sim memory --sequences tells the "
        "last)"
    )
    return Batches(rows=rows, largest=largest, notes=(counted, *notes))


def _batch_notes(rows: Sequence[Load], largest: int, hint: str) -> Iterator[str]:
    """Yield what is not known of larger passes and of more users."""
    if any(row.tokens > largest for row in rows):
        yield (
            f"passes over more than {largest} tokens are not known here: the lower bound runs them "
            f"as several of {largest} at most, the upper one as if more took no longer"
        )
    if rows[-1].users < max(USERS):
        yield (
            f"nothing is told of more than {rows[-1].users} users: passes are known up to "
            f"{largest} tokens{hint}"
        )


def _bandwidths(
    billing: Billing, design: Design, rebuilder: LatencyRebuilder | str
) -> Bandwidths | str:
    """Return the speedup at other bandwidths, or why it is unknown."""
    if isinstance(rebuilder, str):
        return rebuilder
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


def _ideal_gates(billing: Billing, design: Design) -> float | None:
    """Return the speedup with gates that know; None for a design that asks none."""
    if not design.gates:
        return None
    ideal = with_ideal_gates(billing.replay, design)
    return float(billing.bill([design], replay=ideal).speedups()[0])


def _worst(billing: Billing, design: Design) -> Worst:
    def ratio(replay: CompiledReplay) -> float:
        return 1 / float(billing.bill([design], replay=replay).speedups()[0])

    each = {
        prompt: float(billing.bill([design], prompts=[prompt]).speedups()[0])
        for prompt in billing.prompts
    }
    prompt = min(each, key=lambda one: each[one])
    return Worst(
        discarded=ratio(with_open_gates(with_wrong_heads(billing.replay, wrong=1.0))),
        in_vain=ratio(with_silent_heads(billing.replay)) if design.asks_confidence else None,
        prompt=prompt,
        domain=billing.replay.domains[billing.replay.prompts.index(prompt)],
        speedup=each[prompt],
        losing=sum(speedup < 1 for speedup in each.values()),
    )
