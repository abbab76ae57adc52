"""One sequence being decoded: the scheduler's work, done with tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from weakref import ref

import torch

from adadecode.engine.decoding.sampling import (
    Greedy,
    TokenSelector,
    packed_draft,
    unpacked_draft,
    verify_greedily,
)
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import InputError
from adadecode.sim.core.scheduler import Check, Draft, Gate, Outcome, Run, Schedule, Score, Work

Watch = Callable[[Work, Outcome], None]
"""Called with each piece of work and its outcome; the recorder takes its times with it."""


def head_logits(
    parts: SegmentedModel, heads: ExitHeads, depth: int, hidden: torch.Tensor
) -> torch.Tensor:
    """Return the logits of one exit head after the last position.

    Args:
        parts: The model.
        heads: Its exit heads.
        depth: Depth of the head, in layers.
        hidden: Hidden states at that depth, shape ``(1, n, d)``.

    Returns:
        Logits in FP32, shape ``(V,)``; minus infinity outside the head's shortlist.
    """
    return heads.logits(parts, depth, parts.normed(hidden[:, -1:]))[0, -1]


def gate_score(parts: SegmentedModel, heads: ExitHeads, depth: int, hidden: torch.Tensor) -> float:
    """Return the score of the gate before one exit head, after the last position.

    It depends on what the model has computed, and on no token that is drawn of it: so a head is
    asked or not whatever it would say (docs/decisions/0018). The device is read once.

    Args:
        parts: The model.
        heads: Its exit heads, with gates.
        depth: Depth of the head, in layers.
        hidden: Hidden states at that depth, shape ``(1, n, d)``.
    """
    gates = heads.require_gates()
    (score,) = _read_of_heads(
        parts,
        heads,
        lambda hidden: gates.score(depth, parts.normed(hidden))[0],
        hidden[:, -1:],
        f"the gate at depth {depth}",
    )
    return float(score)


def _read_of_heads(
    parts: SegmentedModel,
    heads: ExitHeads,
    work: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    name: str,
) -> list[Any]:
    """Return numbers as `SegmentedModel.read` does; no graphs are kept of heads of one text."""
    read = partial(SegmentedModel.read, parts) if heads.of_text else parts.read
    return read(work, hidden, heads, name)


def greedy_draft(
    parts: SegmentedModel, heads: ExitHeads, depth: int, hidden: torch.Tensor
) -> Draft:
    """Return the most likely token of one exit head after the last position, and its probability.

    The arguments are those of `head_logits`. The device is read once.
    """

    def work(hidden: torch.Tensor) -> torch.Tensor:
        logits = heads.own_logits(parts, depth, parts.normed(hidden))[0, -1]
        return packed_draft(logits, heads.listed)[None]

    (pair,) = _read_of_heads(parts, heads, work, hidden[:, -1:], f"the draft at depth {depth}")
    return unpacked_draft(pair)


def greedy_tokens(parts: SegmentedModel, hidden: torch.Tensor, start: int) -> list[int]:
    """Return the last layer's most likely token after each position, reading the device once.

    Args:
        parts: The model.
        hidden: Hidden states at the last depth, shape ``(1, n, d)``.
        start: The first of the n positions.
    """
    return parts.read(
        lambda hidden: parts.logits(hidden, start)[0].argmax(-1),
        hidden,
        parts,
        "the verified tokens",
    )


class Decoding:
    """One sequence being decoded by the work of a schedule (the paper's Algorithm 1).

    Use it within ``parts.session()``. Its ``clock``, where set, is marked around every layer.

    Args:
        parts: The model. Its key/value buffers hold the prompt already.
        heads: The exit heads that the schedule checks.
        schedule: Hands out work and takes its outcomes.
        selector: Takes tokens from logits; greedy by default.
    """

    def __init__(
        self,
        parts: SegmentedModel,
        heads: ExitHeads,
        schedule: Schedule,
        selector: TokenSelector | None = None,
    ) -> None:
        self.parts, self.heads, self.schedule = parts, heads, schedule
        self.selector: TokenSelector = Greedy() if selector is None else selector
        self.bounds = schedule.boundaries
        self.waiting: list[list[torch.Tensor]] = [[] for _ in self.bounds]
        self.clock: Clock | None = None
        self._kv, self._text = ref(parts.kv), parts.kv.texts

    def steps(self, watch: Watch | None = None) -> Iterator[Work]:
        """Do the work and yield each piece of it when it is done."""
        steps = self.schedule.steps()
        outcome: Outcome = None
        while True:
            try:
                work = steps.send(outcome)
            except StopIteration:
                return
            outcome = self.perform(work)
            if watch is not None:
                watch(work, outcome)
            yield work

    def run_to_end(self) -> None:
        """Do all of the work, in a session of the model."""
        with self.parts.session():
            for _ in self.steps():
                pass

    def perform(self, work: Work) -> Outcome:
        """Do one piece of work and return its outcome."""
        if isinstance(work, Run):
            self._run(work)
            return None
        if isinstance(work, Gate):
            hidden = self.waiting[self.bounds.index(work.depth)][-1]
            return Score(gate_score(self.parts, self.heads, work.depth, hidden))
        if isinstance(work, Check):
            hidden = self.waiting[self.bounds.index(work.depth)][-1]
            if self.selector.packed:
                return greedy_draft(self.parts, self.heads, work.depth, hidden)
            return self.selector.draft(
                head_logits(self.parts, self.heads, work.depth, hidden), work.position
            )
        hidden = self.waiting[-1].pop()
        hidden = hidden[:, hidden.shape[1] - (work.stop - work.start) :]
        if self.selector.packed:
            return verify_greedily(greedy_tokens(self.parts, hidden, work.start), work)
        return self.selector.verdict(self.parts.logits(hidden, work.start)[0], work)

    def embed(self, start: int) -> torch.Tensor:
        """Return the newest token, at position ``start``, as hidden states ``(1, 1, d)``."""
        return self.parts.embed_one(self.schedule.newest, start)

    def check_own_text(self) -> None:
        """Check that what the layers attend to is still this text.

        Raises:
            InputError: Another text has taken its keys and values.
        """
        if self.parts.kv is not self._kv() or self.parts.kv.texts != self._text:
            raise InputError(
                "this decoder began another text in place of one that had not ended: take tokens "
                "from stream, whose texts may take turns, or use another decoder"
            )

    def _run(self, work: Run) -> None:
        """Run a segment on everything that waits before it. Raises InputError."""
        self.check_own_text()
        if work.segment == 0:
            hidden = self.embed(work.start)
        else:
            chunks = self.waiting[work.segment]
            hidden = chunks[0] if len(chunks) == 1 else torch.cat(chunks, 1)
            chunks.clear()
        hidden = self.parts.run(
            self.bounds[work.segment], self.bounds[work.segment + 1], hidden, work.start, self.clock
        )
        self.waiting[work.segment + 1].append(hidden)
