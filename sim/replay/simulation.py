"""The simulation: a sequence is a process, a device is a server (SimPy).

The sequence drives the same scheduler as the engine. Where the engine computes, it waits for as
long as the work takes, and takes the outcome from a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import (
    WORK_NAMES,
    Check,
    Draft,
    Gate,
    Outcome,
    Round,
    Run,
    Schedule,
    Score,
    Verdict,
    Verify,
    Work,
)
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.outcomes import RecordedOutcomes, TraceOutcomes, schedule_of
from adadecode.sim.replay.pricer import Latencies, Pricer

Price = Callable[[Work], float]
"""Returns the seconds of a piece of work; called in the order a device does it."""


class Event(NamedTuple):
    """One piece of work that was done.

    Attributes:
        start_s: When it began, in seconds since the decoding began.
        seconds: How long it took.
        work: The work.
        tokens: The tokens at its positions.
        outcome: Its outcome.
    """

    start_s: float
    seconds: float
    work: Work
    tokens: tuple[int, ...]
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayedRun:
    """One prompt decoded in the simulator.

    Attributes:
        prompt: The prompt.
        n_prompt: Its tokens.
        n_tokens: Outputs, the prefill's included.
        seconds: Time of decoding: of all outputs but the first.
        modelled_seconds: Time of rounds that rest on a drawn branch.
        left_text: Whether an unverified run left the recorded text; False in a replay of recorded
            draws.
        rounds: What was done, round by round.
        events: Every piece of work, where they are kept.
    """

    prompt: int
    n_prompt: int
    n_tokens: int
    seconds: float
    modelled_seconds: float
    left_text: bool
    rounds: tuple[Round, ...]
    events: tuple[Event, ...] = ()


class DeviceServer:
    """A server that does one piece of work at a time, in order of arrival.

    A device with one sequence never makes it wait, so it has no queue: work is a plain timeout,
    which saves two thirds of the events.

    Args:
        env: The simulation.
        price: Returns the seconds of a piece of work.
        sequences: How many sequences share the device.
    """

    def __init__(self, env: simpy.Environment, price: Price, *, sequences: int = 1) -> None:
        self.price = price
        self.queue = simpy.Resource(env, capacity=1) if sequences > 1 else None


@dataclass(slots=True)
class SequenceStats:
    """What the process of a sequence leaves behind.

    Attributes:
        ended_s: When it was done.
        modelled_s: Time of rounds that rest on a drawn branch.
        events: Every piece of work; None where they are not kept.
    """

    ended_s: float = 0.0
    modelled_s: float = 0.0
    events: list[Event] | None = None


def sequence(
    env: simpy.Environment,
    device: DeviceServer,
    schedule: Schedule,
    outcomes: TraceOutcomes | RecordedOutcomes,
    stats: SequenceStats,
) -> Generator[simpy.Event, Any, None]:
    """Decode one sequence.

    Take work from the scheduler, wait while the device does it and report the outcome, until the
    text ends.
    """
    price, queue, timeout = device.price, device.queue, env.timeout
    text: dict[int, int] = {}
    steps = schedule.steps()
    outcome: Outcome = None
    round_began = env.now
    while True:
        try:
            work = steps.send(outcome)
        except StopIteration:
            break
        if queue is None:
            began, seconds = env.now, price(work)
            yield timeout(seconds)
        else:
            with queue.request() as request:
                yield request
                began, seconds = env.now, price(work)
                yield timeout(seconds)
        outcome = outcomes(work)
        if stats.events is not None:
            if isinstance(work, Run) and work.segment == 0:
                text[work.stop - 1] = schedule.newest
            positions = (
                (work.position,) if isinstance(work, Gate | Check) else range(work.start, work.stop)
            )
            stats.events.append(
                Event(began, seconds, work, tuple(text[p] for p in positions), outcome)
            )
        if isinstance(work, Verify):
            if outcomes.end_round():
                stats.modelled_s += env.now - round_began
            round_began = env.now
    if outcomes.end_round():  # an unverified run may end on a draft
        stats.modelled_s += env.now - round_began
    stats.ended_s = env.now


class Replay:
    """Replays prompts of one trace under one design.

    Args:
        trace: The trace.
        design: The design.
        price: Returns the seconds of a piece of work.
        model: Stands in for branches without a record; the trace's own by default.

    Raises:
        DesignError: If a head was not trained, or has no gate where one is to be asked.
    """

    def __init__(
        self, trace: Trace, design: Design, price: Price, *, model: BranchModel | None = None
    ) -> None:
        trace.require(design.placement, gates=bool(design.gates))
        self.trace, self.design, self.price = trace, design, price
        self.model = model or BranchModel(trace)

    def run(
        self,
        prompt: int,
        *,
        events: bool = False,
        drawn: Sequence[Score | Draft | Verdict] | None = None,
    ) -> ReplayedRun:
        """Decode one prompt alone on the device, from time 0.

        Args:
            prompt: The prompt.
            events: Whether to keep every piece of work.
            drawn: What a measured sampled run drew, in place of the outcomes of the trace.

        Raises:
            LatencyError: If some work was not measured.
            ProfileError: If the run drew something else than the scheduler needs.
        """
        trace = self.trace
        schedule = schedule_of(trace, prompt, self.design, own_text=drawn is not None)
        outcomes = (
            TraceOutcomes(trace, prompt, schedule, self.model)
            if drawn is None
            else RecordedOutcomes(drawn)
        )
        env, stats = simpy.Environment(0.0), SequenceStats(events=[] if events else None)
        env.process(sequence(env, DeviceServer(env, self.price), schedule, outcomes, stats))
        env.run()
        if isinstance(outcomes, RecordedOutcomes):
            outcomes.close()
        text = [trace.final(prompt, output) for output in range(trace.n_output(prompt))]
        return ReplayedRun(
            prompt=prompt,
            n_prompt=schedule.n_prompt,
            n_tokens=len(schedule.tokens),
            seconds=stats.ended_s,
            modelled_seconds=stats.modelled_s,
            left_text=drawn is None and schedule.tokens != text,
            rounds=tuple(schedule.rounds),
            events=tuple(stats.events or ()),
        )


def replay(
    trace: Trace,
    latency: Latencies,
    design: Design,
    prompts: Iterable[int] | None = None,
    *,
    model: BranchModel | None = None,
    events: bool = False,
) -> list[ReplayedRun]:
    """Decode prompts one after the other under a design, each on a cold device.

    Args:
        trace: The trace.
        latency: The latencies of the device.
        design: The design.
        prompts: The prompts; all by default.
        model: Stands in for branches without a record; the trace's own by default.
        events: Whether to keep every piece of work.

    Raises:
        DesignError: If a head was not trained.
        LatencyError: If some work was not measured.
        ProfileError: If the trace does not hold a prompt.
    """
    pricer = Pricer(latency, design.boundaries(trace.n_layers))
    one = Replay(trace, design, pricer, model=model)
    runs = []
    for prompt in trace.prompts if prompts is None else prompts:
        pricer.reset()
        runs.append(one.run(prompt, events=events))
    return runs


class RecordedDurations:
    """Prices work by the durations of one instrumented run: (kind, seconds) each, in order."""

    def __init__(self, works: Iterable[tuple[str, float]]) -> None:
        self.works = list(works)
        self.played = 0

    def __call__(self, work: Work) -> float:
        """Return the seconds of the next recorded piece of work.

        Raises:
            ProfileError: If it is of another kind.
        """
        wanted = WORK_NAMES[type(work)]
        got, seconds = (
            self.works[self.played] if self.played < len(self.works) else ("nothing", 0.0)
        )
        if got != wanted:
            raise ProfileError(
                f"wanted a {wanted} as work {self.played} of an instrumented run, got {got}: "
                "the run was not of this trace and design"
            )
        self.played += 1
        return seconds


def replay_measured(
    trace: Trace,
    works: Iterable[tuple[str, float]],
    design: Design,
    prompt: int,
    *,
    model: BranchModel | None = None,
    events: bool = False,
    drawn: Sequence[Score | Draft | Verdict] | None = None,
) -> ReplayedRun:
    """Decode one prompt with the measured durations of an instrumented run.

    Args:
        trace: The trace.
        works: (kind, seconds) of each piece of work of the run, in order.
        design: The design.
        prompt: The prompt.
        model: Stands in for branches without a record; the trace's own by default.
        events: Whether to keep every piece of work.
        drawn: As in `Replay.run`.

    Raises:
        ProfileError: If the recorded work is not what the scheduler hands out, kind by kind and to
            the end.
    """
    durations = RecordedDurations(works)
    run = Replay(trace, design, durations, model=model).run(prompt, events=events, drawn=drawn)
    if durations.played < len(durations.works):
        raise ProfileError(
            f"wanted {durations.played} pieces of work of prompt {prompt} under {design.label}, "
            f"got {len(durations.works)}: the run was not of this trace and design"
        )
    return run
