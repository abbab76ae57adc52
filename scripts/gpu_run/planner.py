"""Plan the calls of a GPU run: which stages fit into which call."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from scripts.gpu_run.stages import LAST_OF_FIRST_CALL, STAGES, STAGES_OF_EVERY_CALL


@dataclass(frozen=True, kw_only=True)
class CallLimits:
    """How long a GPU run may take.

    Attributes:
        call_s: Seconds of one call.
        kept_s: Seconds of each call that are kept for packing and for an interrupt.
        budget_s: Seconds of all calls and their starts.
        start_s: Seconds that starting the machine takes before each call.
    """

    call_s: float
    kept_s: float
    budget_s: float
    start_s: float


def print_plan(limits: CallLimits, stages: list[str]) -> None:
    """Print which of these stages each call should run, with its options, and what does not fit.

    Seconds are estimates. Time that is left over lengthens the calls.
    """
    planned, unplanned = plan_calls(limits, stages)
    estimates = [limits.kept_s + _seconds(call) for call in planned]
    spare_s = (limits.budget_s - sum(estimates)) / max(1, len(planned)) - limits.start_s
    print(
        f"{limits.budget_s / 60:g} minutes, {limits.start_s:g} s of them around each call, "
        f"{limits.kept_s:g} s kept within it; estimated seconds:"
    )
    for number, (call, seconds) in enumerate(zip(planned, estimates, strict=True), 1):
        minutes = math.floor(100 * min(limits.call_s, seconds + spare_s) / 60) / 100
        last = " --last" if number == len(planned) else ""
        print(f"call {number}: --stage {','.join(call)} --minutes {minutes:g}{last}")
        print(f"  {', '.join(map(_with_estimate, call))}; {seconds / 60:.1f} minutes in all")
    if unplanned:
        always = [name for name in STAGES_OF_EVERY_CALL if name in stages]
        longest_s = limits.call_s - limits.kept_s - _seconds(always)
        notes = [
            _with_estimate(name) + " (longer than a call)" * (STAGES[name].seconds > longest_s)
            for name in unplanned
        ]
        print(f"not in these minutes: {', '.join(notes)}")


def plan_calls(
    limits: CallLimits, stages: Collection[str] = tuple(STAGES)
) -> tuple[list[list[str]], list[str]]:
    """Divide stages among calls, by their estimates and in their order.

    Args:
        limits: How long the calls may take.
        stages: Names of the stages to plan.

    Returns:
        The stages of each call, those of every call included; and the stages that fit into none.
    """
    always = [name for name in STAGES_OF_EVERY_CALL if name in stages]
    fixed_s = limits.kept_s + _seconds(always)
    names = [name for name in STAGES if name in stages and name not in STAGES_OF_EVERY_CALL]
    calls: list[list[str]] = [] if names else [[]]
    unplanned = []
    left_s, room_s = limits.budget_s, 0.0
    for name in names:
        seconds = STAGES[name].seconds
        if seconds > room_s or calls[-1][-1] == LAST_OF_FIRST_CALL:
            new_room_s = min(limits.call_s, left_s - limits.start_s) - fixed_s
            if seconds > new_room_s:
                unplanned.append(name)
                continue
            calls.append([])
            left_s, room_s = left_s - limits.start_s - fixed_s, new_room_s
        calls[-1].append(name)
        left_s, room_s = left_s - seconds, room_s - seconds
    return [[name for name in STAGES if name in {*always, *call}] for call in calls], unplanned


def _seconds(stages: Collection[str]) -> float:
    return sum(STAGES[name].seconds for name in stages)


def _with_estimate(stage: str) -> str:
    return f"{stage} {STAGES[stage].seconds:.0f}"
