"""A recorded load simulated: arrivals and outcomes in, and latencies that were measured apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.scheduler import Outcome, Verdict
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import Batch, Question
from adadecode.sim.serving.batching.recorded_load import LoadRun
from adadecode.sim.serving.request import ServedRequest


@dataclass(frozen=True, kw_only=True)
class StepAsked:
    """One step of a simulated engine, to be priced.

    Attributes:
        batch: What it runs.
        asked: Who asked for what after it: all gates of a step stand together, and so on.
        woken: Whether the engine was idle before it.
    """

    batch: Batch
    asked: tuple[tuple[tuple[str, Question], ...], ...]
    woken: bool


Price = Callable[[StepAsked], float]
"""Returns the seconds of a step, from when it could begin until the next one can."""


def simulate_load(run: LoadRun, price: Price) -> list[ServedRequest]:
    """Return when what happens to each request.

    Texts, and so the outcomes of gates, heads and the last layer, are those of the run, each
    request's in its own order. Who is admitted when, and who runs with whom, follows from the
    arrivals and the prices.

    Args:
        run: The run. Of its steps only the outcomes are used.
        price: What steps take.

    Raises:
        ProfileError: A request asks for an outcome that was not recorded.
    """
    batcher = run.settings.batcher()
    told = recorded_outcomes(run)
    arriving = deque(sorted(run.served, key=lambda one: one.request.arrival_s))
    there: dict[str, _Text] = {}
    now = 0.0
    while arriving or not batcher.idle:
        woken = batcher.idle
        if woken:
            now = max(now, arriving[0].request.arrival_s)
        while arriving and arriving[0].request.arrival_s <= now:
            one = arriving.popleft()
            text = _Text(one, run.sequence(one.request.name), told[one.request.name])
            there[text.name] = text
            batcher.arrive(text.sequence)
        batch = batcher.next_batch()
        assert batch is not None
        for name in batch.preempted:
            there[name].rewind()
        batcher.ran(batch)
        asked = []
        while questions := batcher.asked(batch):
            asked.append(tuple(questions))
            batcher.answer(questions, [there[name].outcome() for name, _ in questions])
        begun = now
        now += price(StepAsked(batch=batch, asked=tuple(asked), woken=woken))
        batcher.retire(batch)
        for span in batch.spans:
            there[span.name].note(begun, now)
    return [there[one.request.name].served() for one in run.served]


def recorded_outcomes(run: LoadRun) -> Mapping[str, list[Outcome]]:
    """Return the outcomes of each request, without those of rounds that a preemption undid."""
    told: dict[str, list[Outcome]] = {one.request.name: [] for one in run.served}
    for step in run.steps:
        for name in step.batch.preempted:
            del told[name][_rounds_end(told[name]) :]
        for name, outcome in step.outcomes:
            told[name].append(outcome)
    return told


def _rounds_end(outcomes: list[Outcome]) -> int:
    """Return behind which outcome the last whole round ends."""
    return max((at + 1 for at, one in enumerate(outcomes) if isinstance(one, Verdict)), default=0)


class _Text:
    """A request that is being served, and what it will be told."""

    def __init__(
        self, measured: ServedRequest, sequence: BatchedSequence, told: list[Outcome]
    ) -> None:
        self.sequence, self.name = sequence, measured.request.name
        self._request, self._told = measured.request, told
        self._next = 0
        self._scheduled: float | None = None
        self._token_s: list[float] = []

    def outcome(self) -> Outcome:
        """Return what it is told next."""
        if self._next >= len(self._told):
            raise ProfileError(
                f"the request {self.name!r} asks for an outcome that was not recorded"
            )
        self._next += 1
        return self._told[self._next - 1]

    def rewind(self) -> None:
        """Begin the open round again."""
        self._next = _rounds_end(self._told[: self._next])

    def note(self, begun: float, ended: float) -> None:
        """Take note of a step that it was part of."""
        if self._scheduled is None:
            self._scheduled = begun
        schedule = self.sequence.schedule
        count = 0 if schedule is None else len(schedule.tokens)
        self._token_s += [ended] * (count - len(self._token_s))

    def served(self) -> ServedRequest:
        """Return when what happened to it."""
        assert self._scheduled is not None
        return ServedRequest(
            request=self._request,
            scheduled_s=self._scheduled,
            token_s=tuple(self._token_s),
            preemptions=self.sequence.preemptions,
        )
