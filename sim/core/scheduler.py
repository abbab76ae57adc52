"""AdaDecode's Algorithm 1 as a pure state machine: no tensor, no clock, no randomness.

``Schedule.steps()`` hands out work and takes its outcomes::

    Run(s, i, j)      compute segment s for positions [i, j)           outcome: None
    Check(d, i)       ask the head at depth d what follows position i  outcome: Draft(confidence, token)
    Verify(i, j)      ask the last layer what follows [i, j)           outcome: Verdict(accepted, token)

The engine drives it with tensors, SimPy with recorded outcomes. Depth never rises with position, so one length per segment
says which positions have been through it; a rollback shortens them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design, Policy


class Run(NamedTuple):
    """Compute segment ``segment`` (layers b[segment]..b[segment + 1]) for positions [start, stop)."""

    segment: int
    start: int
    stop: int


class Check(NamedTuple):
    """Ask the head at ``depth`` for the token after ``position`` and its probability."""

    depth: int
    position: int


class Verify(NamedTuple):
    """Ask the last layer for the tokens after positions [start, stop); ``drafts`` follow all but the last of them.

    With sampling, a last draft that would end the text follows the last of them, and is judged like the others.
    """

    start: int
    stop: int
    drafts: tuple[int, ...]


Work = Run | Check | Verify

WORK_NAMES: dict[type, str] = {Run: "run", Check: "check", Verify: "verify"}
"""What a recording calls each kind of work."""


class Draft(NamedTuple):
    """Outcome of a Check."""

    confidence: float
    token: int


class Verdict(NamedTuple):
    """Outcome of a Verify: how many drafts that left early hold, and the token after them.

    The token is the final layer's own, or with sampling the draft after the last position, where that holds.
    """

    accepted: int
    token: int


Outcome = Draft | Verdict | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """From one verification to the next.

    start: position of the round's first token. exits: depth at which each draft was taken. accepted: drafts that held. committed:
    tokens gained. work: (segment, n_tokens) of each Run, in order. checks: depths of the heads tested, in order.
    """

    start: int
    exits: tuple[int, ...]
    accepted: int
    committed: int
    work: tuple[tuple[int, int], ...]
    checks: tuple[int, ...]


@dataclass(kw_only=True)
class Schedule:
    """The decoding of one sequence. After the prefill, ``first_token`` stands at position ``n_prompt``, not yet computed.

    n_layers: L. max_new_tokens: budget, ``first_token`` included, >= 1. eos: tokens that end the text. earliest: for the policy ``oracle`` and
    only for it, the depth at which the token at a position may leave; no head above it is asked. Raises DesignError for an oracle without it.
    sampled: whether drafts are drawn, not the likeliest: an end is then kept for the last layer to judge (docs/decisions/0018).
    tokens: what is committed, ``first_token`` first. rounds: what was done. Both grow while ``steps()`` runs. newest: the token at
    the position being computed, a draft or a committed one.
    """

    design: Design
    n_layers: int
    n_prompt: int
    first_token: int
    max_new_tokens: int
    eos: frozenset[int] = frozenset()
    earliest: Callable[[int], int] | None = None
    sampled: bool = False
    tokens: list[int] = field(init=False)
    rounds: list[Round] = field(init=False, default_factory=list)
    boundaries: tuple[int, ...] = field(init=False)
    lengths: list[int] = field(init=False)
    newest: int = field(init=False)

    def __post_init__(self) -> None:
        if (self.design.policy is Policy.ORACLE) != (self.earliest is not None):
            raise DesignError(
                "the oracle must know where every token may leave, and nobody else may: simulate it from a recorded trace with adadecode-sim, or run another policy"
            )
        self.tokens = [self.first_token]
        self.newest = self.first_token
        self.boundaries = self.design.boundaries(self.n_layers)
        self.lengths = [self.n_prompt] * (len(self.boundaries) - 1)

    @property
    def done(self) -> bool:
        """True once the budget is spent or the text has ended."""
        return len(self.tokens) >= self.max_new_tokens or self.tokens[-1] in self.eos

    def steps(self) -> Generator[Work, Outcome, None]:
        """Hand out work in order; send each outcome back in."""
        while not self.done:
            yield from self._round()

    def _round(self) -> Generator[Work, Outcome, None]:
        """One round: draft until a token reaches the last layer, then verify all that waited."""
        design, lengths = self.design, self.lengths
        first = position = self.n_prompt + len(self.tokens) - 1
        last = len(lengths) - 1
        drafts: list[int] = []
        exits: list[int] = []
        work: list[tuple[int, int]] = []
        checks: list[int] = []
        end: tuple[int, ...] = ()
        segment = 0
        while True:
            start, lengths[segment] = (
                lengths[segment],
                position + 1,
            )  # lazy catch-up: all that waited here, in one batch
            work.append((segment, position + 1 - start))
            yield Run(segment, start, position + 1)
            if segment == last:
                break
            segment += 1
            if end or not self._may_draft(len(drafts)):
                continue
            depth = self.boundaries[segment]
            if self.earliest is not None and depth < self.earliest(position):
                continue
            checks.append(depth)
            outcome = yield Check(depth, position)
            assert isinstance(outcome, Draft)
            if outcome.confidence <= design.threshold(depth):
                continue
            if outcome.token in self.eos and design.verify:
                # nothing can follow it: the token runs on, and the last layer says whether the text ends
                end = (outcome.token,) if self.sampled else ()
                continue
            drafts.append(outcome.token)
            exits.append(depth)
            if not design.verify and (
                outcome.token in self.eos or len(self.tokens) + len(drafts) >= self.max_new_tokens
            ):
                self._commit(first, drafts, exits, len(drafts), work, checks)
                return
            self.newest = outcome.token
            position += 1
            segment = 0
        if design.verify:
            verdict = yield Verify(first, position + 1, (*drafts, *end))
            assert isinstance(verdict, Verdict)
            accepted = verdict.accepted
        else:
            verdict = yield Verify(position, position + 1, ())
            assert isinstance(verdict, Verdict)
            accepted = len(drafts)
        self._commit(first, [*drafts[:accepted], verdict.token], exits, accepted, work, checks)
        self._rollback(first + accepted + 1)

    def _may_draft(self, drafts: int) -> bool:
        """Whether one more draft could be of use: under the cap and, if it must be verified, with a token left for the last layer."""
        left = self.max_new_tokens - len(self.tokens) - drafts
        return drafts < self.design.cap and (left > 1 or not self.design.verify)

    def _rollback(self, length: int) -> None:
        for segment, done in enumerate(self.lengths):
            self.lengths[segment] = min(done, length)

    def _commit(
        self,
        start: int,
        tokens: list[int],
        exits: list[int],
        accepted: int,
        work: list[tuple[int, int]],
        checks: list[int],
    ) -> None:
        self.tokens += tokens
        self.newest = tokens[-1]
        self.rounds.append(
            Round(
                start=start,
                exits=tuple(exits),
                accepted=accepted,
                committed=len(tokens),
                work=tuple(work),
                checks=tuple(checks),
            )
        )
