"""The batches of a recorded run, formed again from outcomes and arrivals alone (tier T0)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.scheduler import Check, Draft, Gate, Outcome, Score, Verdict, Verify
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import Batcher, Question
from adadecode.sim.serving.batching.step_record import StepRecord, in_row_order

_ANSWERS: dict[type, type] = {Gate: Score, Check: Draft, Verify: Verdict}
"""The kind of outcome that each question has."""


def replayed_steps(
    recorded: Sequence[StepRecord],
    batcher: Batcher,
    sequence_of: Callable[[str], BatchedSequence],
) -> Iterator[StepRecord]:
    """Yield the steps that a batcher forms where requests arrive and leave as in a recorded run.

    Of a recorded step only arrivals, cancellations, outcomes and times are used. Segments,
    positions, admissions, preemptions and ends are worked out again, so a replay equals its
    recording exactly where both follow the same rules.

    Args:
        recorded: The steps of the run, in order.
        batcher: A new one, with the order, the pool and the limits of the run.
        sequence_of: Returns a new sequence by the name of its request; called for each arrival, in
            order, also where a name was used before.

    Raises:
        ProfileError: A step asks for an outcome that was not recorded, or nothing is left to run.
    """
    told: dict[str, deque[Outcome]] = {}
    for record in recorded:
        for name, outcome in record.outcomes:
            told.setdefault(name, deque()).append(outcome)
    for record in recorded:
        # a name is used by one at a time: who is there left first, and made room for an arrival
        left = Counter(name for name in record.cancelled if not batcher.cancel(name))
        for name in record.arrived:
            batcher.arrive(sequence_of(name))
            if left[name]:
                left[name] -= 1
                batcher.cancel(name)
        batch = batcher.next_batch()
        if batch is None:
            raise ProfileError(
                f"step {record.batch.step} was recorded, and nothing is left to run there: replay "
                "it with the design and the limits of the run"
            )
        batcher.ran(batch)
        outcomes: list[tuple[str, Outcome]] = []
        while asked := batcher.asked(batch):
            answers = [_next_outcome(told, name, work, record) for name, work in asked]
            outcomes += zip((name for name, _ in asked), answers, strict=True)
            batcher.answer(asked, answers)
        ended = batcher.retire(batch)
        yield replace(record, batch=batch, outcomes=in_row_order(batch, outcomes), ended=ended)


def _next_outcome(
    told: dict[str, deque[Outcome]], name: str, work: Question, record: StepRecord
) -> Outcome:
    """Return the next recorded outcome of a request, which must be of what it asks."""
    outcomes = told.get(name)
    if not outcomes or not isinstance(outcomes[0], _ANSWERS[type(work)]):
        raise ProfileError(
            f"at step {record.batch.step} the request {name!r} asks for an outcome that was not "
            "recorded: replay it with the design and the limits of the run"
        )
    return outcomes.popleft()
