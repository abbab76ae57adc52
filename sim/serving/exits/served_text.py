"""A request while a simulated server with early exits answers it."""

from __future__ import annotations

from collections.abc import Callable

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Outcome, Schedule, Verdict, Verify
from adadecode.sim.replay.outcomes import TraceOutcomes
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import Question
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.request import Request, ServedRequest

MakeSchedule = Callable[[Request], Schedule]
"""Returns the schedule of a request, as it is after its prompt."""


class ServedText:
    """The state of a request, and the outcomes of what it asks.

    Attributes:
        request: The request.
        sequence: What it waits with.
        scheduled_s: When the first of its work began; None before.
        token_s: When each of its tokens came out.
        modelled: Rounds that rested on a branch that was not recorded.

    Args:
        name: What tells it from the others of its server.
        request: See above.
        texts: What heads and the last layer say.
        n_segments: Segments of the model.
        make_schedule: See `MakeSchedule`.
    """

    def __init__(
        self,
        name: str,
        request: Request,
        texts: Texts,
        n_segments: int,
        make_schedule: MakeSchedule,
    ) -> None:
        self.request, self.texts = request, texts
        self.sequence = BatchedSequence(
            name,
            n_prompt=request.n_prompt,
            most_positions=request.n_prompt + texts.budget(request) - 1,
            n_segments=n_segments,
            make_schedule=lambda _: make_schedule(request),
        )
        self.scheduled_s: float | None = None
        self.token_s: list[float] = []
        self.modelled = 0
        self._text = texts.text_of(request)
        self._outcomes: TraceOutcomes | None = None

    def answer(self, asked: Question) -> Outcome:
        """Return the outcome of what it asks."""
        schedule = self.sequence.schedule
        if schedule is None:
            return Verdict(0, self.texts.trace.first_token(self._text))
        if self._outcomes is None:
            texts = self.texts
            self._outcomes = TraceOutcomes(texts.trace, self._text, schedule, texts.model)
        outcome = self._outcomes(asked)
        if isinstance(asked, Verify):
            self.modelled += self._outcomes.end_round()
        return outcome

    def rewind(self) -> None:
        """Forget the open round, as its sequence did when it lost its keys and values."""
        self._outcomes = None

    def stamp(self, now: float) -> None:
        """Note that tokens came out."""
        schedule = self.sequence.schedule
        if schedule is not None:
            self.token_s += [now] * (len(schedule.tokens) - len(self.token_s))

    def served(self) -> ServedRequest:
        """Return the request with its times."""
        assert self.scheduled_s is not None
        return ServedRequest(
            request=self.request,
            scheduled_s=self.scheduled_s,
            token_s=tuple(self.token_s),
            preemptions=self.sequence.preemptions,
        )


def plain_schedules(texts: Texts, design: Design) -> MakeSchedule:
    """Return what makes the schedules of one design for all."""
    return lambda request: texts.schedule(request, design)
