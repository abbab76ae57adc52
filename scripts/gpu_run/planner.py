"""Plan the calls of a GPU run: which stages fit into which call."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from scripts.gpu_run.stages import ALWAYS, LAST_OF_FIRST, STAGES


def plan(limits: CallLimits, wanted: list[str]) -> None:
    """Print which of what is wanted each call should do, with the options that say so, and what does not fit: estimates. What is left over lengthens the calls."""
    planned, unplanned = calls(limits, wanted)
    took = [limits.kept_s + sum(STAGES[name].seconds for name in stages) for stages in planned]
    spare = (limits.budget_s - sum(took)) / max(1, len(planned)) - limits.start_s
    around = f"{limits.start_s:g} s of them around each call, {limits.kept_s:g} s kept within it"
    print(f"{limits.budget_s / 60:g} minutes, {around}; estimated seconds:")
    for number, (stages, seconds) in enumerate(zip(planned, took, strict=True), 1):
        minutes = math.floor(100 * min(limits.call_s, seconds + spare) / 60) / 100
        last = " --last" if number == len(planned) else ""
        print(f"call {number}: --stage {','.join(stages)} --minutes {minutes:g}{last}")
        print(f"  {', '.join(map(_estimated, stages))}; {seconds / 60:.1f} minutes in all")
    if unplanned:
        most = (
            limits.call_s
            - limits.kept_s
            - sum(STAGES[name].seconds for name in ALWAYS if name in wanted)
        )
        said = [
            f"{_estimated(name)}{' (longer than a call)' * (STAGES[name].seconds > most)}"
            for name in unplanned
        ]
        print(f"not in these minutes: {', '.join(said)}")


def _estimated(stage: str) -> str:
    return f"{stage} {STAGES[stage].seconds:.0f}"


@dataclass(frozen=True, kw_only=True)
class CallLimits:
    """What a visit may take. call_s: one call, of which packing and an interrupt keep ``kept_s``. budget_s: all calls, each with ``start_s`` of its machine before it."""

    call_s: float
    kept_s: float
    budget_s: float
    start_s: float


def calls(
    limits: CallLimits, wanted: Collection[str] = tuple(STAGES)
) -> tuple[list[list[str]], list[str]]:
    """Which of the wanted stages should go into which call, by the estimates and in their order, those of ALWAYS into each; and which into none."""
    always = [name for name in ALWAYS if name in wanted]
    each = limits.kept_s + sum(STAGES[name].seconds for name in always)
    names = [name for name in STAGES if name in wanted and name not in ALWAYS]
    planned: list[list[str]] = [] if names else [[]]
    unplanned = []
    left, room = limits.budget_s, 0.0
    for name in names:
        seconds = STAGES[name].seconds
        if seconds > room or planned[-1][-1] == LAST_OF_FIRST:
            fresh = min(limits.call_s, left - limits.start_s) - each
            if seconds > fresh:
                unplanned.append(name)
                continue
            planned.append([])
            left, room = left - limits.start_s - each, fresh
        planned[-1].append(name)
        left, room = left - seconds, room - seconds
    return [
        [name for name in STAGES if name in {*always, *stages}] for stages in planned
    ], unplanned
