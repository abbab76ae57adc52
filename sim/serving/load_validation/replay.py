"""A load replayed from what was recorded of it: the same batches (T0), and the same times (T1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adadecode.profiles.errors import ProfileError
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.recorded_load import LoadRun
from adadecode.sim.serving.batching.replayed_batches import replayed_steps
from adadecode.sim.serving.batching.step_record import StepRecord
from adadecode.sim.serving.metrics.request_times import e2e_s, tpot_s, ttft_s
from adadecode.sim.serving.request import ServedRequest

_SIZES = (ttft_s, tpot_s, e2e_s)


@dataclass(frozen=True, kw_only=True)
class ReplayedLoad:
    """A run of a load beside its replay.

    Attributes:
        steps: Steps that were recorded.
        exact: How many of them, from the first, the replay forms with the same segment, positions,
            admissions, preemptions, accepts and ends.
        why: What differs first; empty where nothing does.
        time_error: The largest error of a TTFT, TPOT or end-to-end time that follows from the
            measured durations of the steps, relative to what was measured; None where the batches
            differ.
    """

    steps: int
    exact: int
    why: str
    time_error: float | None


def replay_load(run: LoadRun) -> ReplayedLoad:
    """Replay a run from arrivals, outcomes and durations."""
    sequences: dict[str, BatchedSequence] = {}

    def sequence_of(name: str) -> BatchedSequence:
        sequences[name] = run.sequence(name)
        return sequences[name]

    clock = _Clock(run, sequences)
    exact, why = 0, ""
    try:
        batcher = run.settings.batcher()
        for recorded, replayed in zip(
            run.steps, replayed_steps(run.steps, batcher, sequence_of), strict=True
        ):
            if recorded != replayed:
                why = difference(recorded, replayed)
                break
            clock.advance(replayed, idle=batcher.idle)
            exact += 1
        if not why and not batcher.idle:
            why = "texts are left that no recorded step ended"
    except ProfileError as error:
        why = str(error)
    return ReplayedLoad(
        steps=len(run.steps),
        exact=exact,
        why=why,
        time_error=None if why else largest_error(run.served, clock.served()),
    )


def difference(recorded: StepRecord, replayed: StepRecord) -> str:
    """Say what differs first between a recorded step and its replay."""
    pairs = [
        *((name, getattr(recorded.batch, name), getattr(replayed.batch, name)) for name in _BATCH),
        *((name, getattr(recorded, name), getattr(replayed, name)) for name in _STEP),
    ]
    name, theirs, ours = next((name, one, two) for name, one, two in pairs if one != two)
    return f"step {recorded.batch.step} recorded {name} {theirs}, replayed {ours}"


_BATCH = ("step", "segment", "spans", "admitted", "preempted")
_STEP = ("outcomes", "ended")


def largest_error(measured: Sequence[ServedRequest], simulated: Sequence[ServedRequest]) -> float:
    """Return the largest error of the times of requests, relative to what was measured."""
    errors = []
    for theirs, ours in zip(measured, simulated, strict=True):
        for size in _SIZES:
            wanted, got = size(theirs), size(ours)
            if wanted is None or got is None:
                continue
            if wanted > 0:
                errors.append(abs(got / wanted - 1))
            elif got != wanted:
                errors.append(np.inf)
    return float(max(errors))


class _Clock:
    """The clock of a replay, which goes on by measured durations and stands at no measured time.

    A step lasts from when it could begin until its tokens come, and then until the next one
    begins. It could begin where the one before let it, or once a request had arrived.
    """

    def __init__(self, run: LoadRun, sequences: dict[str, BatchedSequence]) -> None:
        self._run, self._sequences = run, sequences
        self._arrival = {one.request.name: one.request.arrival_s for one in run.served}
        self._begun = [one.begun_s for one in run.steps]
        self._now = 0.0
        self._idle = True
        self._at = 0
        self._scheduled: dict[str, float] = {}
        self._tokens: dict[str, list[float]] = {}

    def advance(self, step: StepRecord, *, idle: bool) -> None:
        """Let the time of a step pass, and note when its requests began and got tokens.

        Args:
            step: The replayed step.
            idle: Whether nobody is left after it.
        """
        begun = self._begun[self._at]
        could = begun
        if self._idle:
            could = min([self._arrival[name] for name in step.arrived], default=begun)
            self._now = could
        for span in step.batch.spans:
            self._scheduled.setdefault(span.name, self._now + begun - could)
        self._now += begun + step.seconds - could
        for span in step.batch.spans:
            schedule = self._sequences[span.name].schedule
            times = self._tokens.setdefault(span.name, [])
            count = 0 if schedule is None else len(schedule.tokens)
            times += [self._now] * (count - len(times))
        self._at += 1
        self._idle = idle
        if not idle and self._at < len(self._begun):
            self._now += self._begun[self._at] - begun - step.seconds

    def served(self) -> list[ServedRequest]:
        """Return when what happened to each request."""
        return [
            ServedRequest(
                request=one.request,
                scheduled_s=self._scheduled[one.request.name],
                token_s=tuple(self._tokens[one.request.name]),
                preemptions=self._sequences[one.request.name].preemptions,
            )
            for one in self._run.served
        ]
