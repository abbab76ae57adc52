"""Which sequences run what together: continuous batching as a pure state machine.

There is no tensor, no clock and no randomness here. A driver tells who arrives and leaves, asks for
the next batch, does its work, and gives the outcomes back::

    batch = batcher.next_batch()              segment, and positions of each sequence
    batcher.ran(batch)                        the segment was run on them
    while asked := batcher.asked(batch):      gates, then checks; or verifications
        batcher.answer(asked, outcomes)
    ended = batcher.retire(batch)             whose texts have ended

The engine drives it with tensors and a simulator with recorded outcomes, so both form the same
batches. At the beginning of a step, sequences that go on get the blocks that they need, the oldest
first; where none is free, the most recently admitted one loses its own, and is computed again
later. Where nobody lost any, queued ones are admitted in order of arrival, each with the blocks of
its whole prefill. Then the order picks a segment, and all that waits for it runs, up to the most
tokens of a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from adadecode.profiles.errors import InputError
from adadecode.sim.core.scheduler import Check, Gate, Outcome, Run, Verify
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.block_pool import BlockPool, checked_count
from adadecode.sim.serving.batching.segment_order import SegmentOrder, Waiting

DEFAULT_MAX_NUM_SEQS = 16
"""Sequences that run at once."""
DEFAULT_MAX_BATCHED_TOKENS = 512
"""Positions of a batch."""

Question = Gate | Check | Verify


class Span(NamedTuple):
    """Positions [start, stop) of one sequence in a batch."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What one step runs.

    Attributes:
        step: Its number, from 0 on.
        segment: The segment.
        spans: The positions of each sequence, in the order of the rows.
        admitted: Who was admitted before it.
        preempted: Who lost its keys and values before it.
    """

    step: int
    segment: int
    spans: tuple[Span, ...]
    admitted: tuple[str, ...] = ()
    preempted: tuple[str, ...] = ()


class Batcher:
    """Forms batches of the sequences that arrive.

    Attributes:
        pool: The blocks of keys and values.
        queue: Who waits to be admitted, in order.
        running: Who was admitted, by name, in order of admission.
        step: The number of the next step.

    Args:
        order: Picks the segment of each step.
        pool: The blocks of keys and values, all of them free.
        max_num_seqs: The most sequences that run at once.
        max_batched_tokens: The most positions of a batch. A single sequence may exceed it with the
            tokens that wait for its deeper layers.

    Raises:
        InputError: A limit is no whole number from 1 on.
    """

    def __init__(
        self,
        *,
        order: SegmentOrder,
        pool: BlockPool,
        max_num_seqs: int = DEFAULT_MAX_NUM_SEQS,
        max_batched_tokens: int = DEFAULT_MAX_BATCHED_TOKENS,
    ) -> None:
        self.order, self.pool = order, pool
        self.max_num_seqs = checked_count("max_num_seqs", max_num_seqs)
        self.max_batched_tokens = checked_count("max_batched_tokens", max_batched_tokens)
        self.queue: deque[BatchedSequence] = deque()
        self.running: dict[str, BatchedSequence] = {}
        self.step = 0

    # -- who is there --------------------

    def check(self, n_prompt: int, most_positions: int) -> None:
        """Raise InputError for a sequence that could never be run to its end.

        Args:
            n_prompt: Tokens of its prompt.
            most_positions: Positions that it computes at most.
        """
        blocks, pool = self.pool.blocks_of(most_positions), self.pool
        if blocks > pool.n_blocks:
            raise InputError(
                f"a text of {n_prompt} tokens of prompt takes up to {most_positions} positions, "
                f"{blocks} blocks of keys and values, and there are {pool.n_blocks} of "
                f"{pool.block_size} positions: ask for fewer tokens, or give more kv_blocks"
            )

    def arrive(self, sequence: BatchedSequence) -> None:
        """Queue a sequence. Raises InputError where it could never be run to its end."""
        self.check(sequence.n_prompt, sequence.most_positions)
        self.queue.append(sequence)

    def cancel(self, name: str) -> bool:
        """Let a sequence leave, queued or running, and return whether it was there."""
        if name in self.running:
            self._release(self.running.pop(name))
            return True
        before = len(self.queue)
        self.queue = deque(one for one in self.queue if one.name != name)
        return len(self.queue) < before

    @property
    def idle(self) -> bool:
        """Whether nobody is there."""
        return not self.queue and not self.running

    # -- a step --------------------

    def next_batch(self) -> Batch | None:
        """Return what the next step runs; None where nobody is there."""
        preempted = self._grow()
        admitted = () if preempted else self._admit()
        if not self.running:
            assert not self.queue, "a queued sequence fits where nobody runs"
            return None
        waiting = [
            Waiting(segment=_run_of(one).segment, age=self.step - one.since)
            for one in self.running.values()
        ]
        segment = self.order.choose(waiting)
        batch = Batch(
            step=self.step,
            segment=segment,
            spans=self._spans(segment),
            admitted=admitted,
            preempted=preempted,
        )
        self.step += 1
        return batch

    def ran(self, batch: Batch) -> None:
        """Take note that the segment was run."""
        for span in batch.spans:
            self._advance(span.name)

    def asked(self, batch: Batch) -> list[tuple[str, Question]]:
        """Return who of a batch asks for what, all of the same kind: gates first, then checks.

        Once nobody asks, everybody waits for a segment, or is done.
        """
        found = [
            (span.name, work)
            for span in batch.spans
            if not isinstance(work := self.running[span.name].work, Run) and work is not None
        ]
        gates: list[tuple[str, Question]] = [
            (name, work) for name, work in found if isinstance(work, Gate)
        ]
        return gates or found

    def answer(self, asked: Sequence[tuple[str, Question]], outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of what was asked."""
        for (name, _), outcome in zip(asked, outcomes, strict=True):
            self._advance(name, outcome)

    def retire(self, batch: Batch) -> tuple[str, ...]:
        """Let the sequences of a batch leave whose texts have ended, and return their names."""
        ended = tuple(span.name for span in batch.spans if self.running[span.name].done)
        for name in ended:
            self._release(self.running.pop(name))
        return ended

    # -- memory --------------------

    def _grow(self) -> tuple[str, ...]:
        """Give everybody the blocks of the work that they wait with, and return who lost theirs."""
        preempted = []
        for sequence in list(self.running.values()):
            while sequence.name in self.running and (short := self._short(sequence)):
                if short <= self.pool.free:
                    sequence.blocks += self.pool.take(short)
                    continue
                name, latest = self.running.popitem()
                latest.preempt()
                self.pool.give_back(latest.blocks)
                self.queue.appendleft(latest)
                preempted.append(name)
        return tuple(preempted)

    def _short(self, sequence: BatchedSequence) -> int:
        """Return how many blocks a sequence lacks."""
        return max(0, self.pool.blocks_of(sequence.length) - len(sequence.blocks))

    def _admit(self) -> tuple[str, ...]:
        """Admit who is first in the queue, as long as there are places and blocks."""
        admitted = []
        while self.queue and len(self.running) < self.max_num_seqs:
            sequence = self.queue[0]
            blocks = self.pool.blocks_of(sequence.positions_to_begin())
            if blocks > self.pool.free:
                break
            self.queue.popleft()
            sequence.begin()
            sequence.since = self.step
            sequence.blocks += self.pool.take(blocks)
            self.running[sequence.name] = sequence
            admitted.append(sequence.name)
        return tuple(admitted)

    def _release(self, sequence: BatchedSequence) -> None:
        sequence.leave()
        self.pool.give_back(sequence.blocks)

    # -- the batch --------------------

    def _spans(self, segment: int) -> tuple[Span, ...]:
        """Return the positions of a batch: who has waited longest first, prompts last.

        Prompts fill what is left of the most tokens, in chunks; only the first segment cuts them.
        """
        there = [one for one in self.running.values() if _run_of(one).segment == segment]
        there.sort(key=lambda one: (segment == 0 and one.prefilling, one.since))
        spans: list[Span] = []
        left = self.max_batched_tokens
        for sequence in there:
            if segment == 0 and sequence.prefilling and left > 0:
                sequence.cut(left)
            _, start, stop = _run_of(sequence)
            if spans and stop - start > left:
                continue
            spans.append(Span(sequence.name, start, stop))
            left -= stop - start
        return tuple(spans)

    def _advance(self, name: str, outcome: Outcome = None) -> None:
        sequence = self.running[name]
        sequence.advance(outcome)
        sequence.since = self.step


def _run_of(sequence: BatchedSequence) -> Run:
    """Return the run that a sequence waits with."""
    assert isinstance(sequence.work, Run)
    return sequence.work
