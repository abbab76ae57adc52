"""The simulation: a sequence is a process, a device is a server (SimPy).

The sequence drives the same scheduler as the engine; where the engine computes, it waits for as long as the work takes, and takes
the outcome from a trace.
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
    Outcome,
    Round,
    Run,
    Schedule,
    Verdict,
    Verify,
    Work,
)
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.outcomes import RecordedOutcomes, TraceOutcomes, schedule_of
from adadecode.sim.replay.pricer import Latencies, Pricer

Price = Callable[[Work], float]
"""Seconds of a piece of work, asked in the order a device does it."""


class Event(NamedTuple):
    """One piece of work done: when, for how long (seconds since the decoding began), on which tokens (of its positions), and its outcome."""

    start_s: float
    seconds: float
    work: Work
    tokens: tuple[int, ...]
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayedRun:
    """One prompt decoded in the simulator.

    seconds: of decoding, all outputs but the first. n_tokens: outputs, the prefill's included. modelled_seconds: of rounds that rest on a
    drawn branch. left_text: whether an unverified run ended up off the recorded text (False of a replay of recorded draws). events: every piece of work, where asked for.
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
    """A server: one piece of work at a time, in the order asked for.

    A device with one sequence never makes it wait, so it has no queue: work is a plain timeout, which saves two thirds of the events.
    """

    def __init__(self, env: simpy.Environment, price: Price, *, sequences: int = 1) -> None:
        self.price = price
        self.queue = simpy.Resource(env, capacity=1) if sequences > 1 else None


@dataclass(slots=True)
class SequenceStats:
    """What a sequence's process leaves behind. ended_s: when it was done."""

    ended_s: float = 0.0
    modelled_s: float = 0.0
    events: list[Event] | None = None


def sequence(
    env: simpy.Environment,
    device: DeviceServer,
    schedule: Schedule,
    answers: TraceOutcomes | RecordedOutcomes,
    meter: SequenceStats,
) -> Generator[simpy.Event, Any, None]:
    """One sequence: ask the scheduler for work, wait while the device does it, report the outcome; until the text ends."""
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
            with queue.request() as turn:
                yield turn
                began, seconds = env.now, price(work)
                yield timeout(seconds)
        outcome = answers(work)
        if meter.events is not None:
            if isinstance(work, Run) and work.segment == 0:
                text[work.stop - 1] = schedule.newest
            positions = (
                (work.position,) if isinstance(work, Check) else range(work.start, work.stop)
            )
            meter.events.append(
                Event(began, seconds, work, tuple(text[p] for p in positions), outcome)
            )
        if isinstance(work, Verify):
            if answers.end_round():
                meter.modelled_s += env.now - round_began
            round_began = env.now
    if answers.end_round():  # an unverified run may end on a draft
        meter.modelled_s += env.now - round_began
    meter.ended_s = env.now


class Replay:
    """Replays prompts of one trace under one design; keeps what prompts have in common.

    latency: the device's, in seconds. Raises DesignError for a head that was not trained, LatencyError for work that was not measured.
    """

    def __init__(
        self, trace: Trace, design: Design, price: Price, *, model: BranchModel | None = None
    ) -> None:
        trace.require(design.placement)
        self.trace, self.design, self.price = trace, design, price
        self.model = model or BranchModel(trace)

    def run(
        self, prompt: int, *, events: bool = False, drawn: Sequence[Draft | Verdict] | None = None
    ) -> ReplayedRun:
        """Decode one prompt alone on the device, from time 0. drawn: what a measured sampled run drew, in place of what the trace says.

        Raises ProfileError where the run drew something else than the scheduler asks for.
        """
        trace = self.trace
        schedule = schedule_of(trace, prompt, self.design, own_text=drawn is not None)
        answers = (
            TraceOutcomes(trace, prompt, schedule, self.model)
            if drawn is None
            else RecordedOutcomes(drawn)
        )
        env, meter = simpy.Environment(0.0), SequenceStats(events=[] if events else None)
        env.process(sequence(env, DeviceServer(env, self.price), schedule, answers, meter))
        env.run()
        if isinstance(answers, RecordedOutcomes):
            answers.close()
        text = [trace.final(prompt, output) for output in range(trace.n_output(prompt))]
        return ReplayedRun(
            prompt=prompt,
            n_prompt=schedule.n_prompt,
            n_tokens=len(schedule.tokens),
            seconds=meter.ended_s,
            modelled_seconds=meter.modelled_s,
            left_text=drawn is None and schedule.tokens != text,
            rounds=tuple(schedule.rounds),
            events=tuple(meter.events or ()),
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
    """Decode prompts (all, by default) one after the other under a design, each on a cold device; times from the latency table.

    model: stands in for branches nobody recorded; the trace's own, by default. events: keep every piece of work. Raises DesignError,
    LatencyError, and ProfileError for a prompt that the trace does not hold.
    """
    pricer = Pricer(latency, design.boundaries(trace.n_layers))
    one = Replay(trace, design, pricer, model=model)
    runs = []
    for prompt in trace.prompts if prompts is None else prompts:
        pricer.reset()
        runs.append(one.run(prompt, events=events))
    return runs


class RecordedDurations:
    """Prices work by the recorded durations of one instrumented run, in their order: (kind, seconds) each."""

    def __init__(self, works: Iterable[tuple[str, float]]) -> None:
        self.works = list(works)
        self.played = 0

    def __call__(self, work: Work) -> float:
        """Seconds of the next recorded piece of work. Raises ProfileError where it is not of this kind."""
        wanted = WORK_NAMES[type(work)]
        got, seconds = (
            self.works[self.played] if self.played < len(self.works) else ("nothing", 0.0)
        )
        if got != wanted:
            raise ProfileError(
                f"wanted a {wanted} as work {self.played} of an instrumented run, got {got}: the run was not of this trace and design"
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
    drawn: Sequence[Draft | Verdict] | None = None,
) -> ReplayedRun:
    """Decode one prompt with the measured durations of an instrumented run: (kind, seconds) of each piece of work, in order. drawn: as in `Replay.run`.

    Raises ProfileError where the recorded work is not what the scheduler hands out, kind by kind and to the end.
    """
    tape = RecordedDurations(works)
    run = Replay(trace, design, tape, model=model).run(prompt, events=events, drawn=drawn)
    if tape.played < len(tape.works):
        raise ProfileError(
            f"wanted {tape.played} pieces of work of prompt {prompt} under {design.label}, got {len(tape.works)}: the run was not of this trace and design"
        )
    return run
