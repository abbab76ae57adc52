"""AdaDecode's Algorithm 1 as a pure state machine: no tensor, no clock, no randomness.

``Schedule.steps()`` hands out work and takes its outcomes (on the right)::

    Run(s, i, j)    compute segment s for positions [i, j)           None
    Gate(d, i)      ask the gate at depth d whether the head is      Score(value)
                    worth asking about position i
    Check(d, i)     ask the head at depth d what follows position i  Draft(confidence, token)
    Verify(i, j)    ask the last layer what follows [i, j)           Verdict(accepted, token)

The engine drives it with tensors, SimPy with recorded outcomes. Depth never rises with position, so
one length per segment tells which positions have been through it; a rollback shortens them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import Design, Policy


class Run(NamedTuple):
    """Compute layers b[segment]..b[segment + 1] for positions [start, stop)."""

    segment: int
    start: int
    stop: int


class Gate(NamedTuple):
    """Ask the gate at ``depth`` how likely its head is confident and right after ``position``."""

    depth: int
    position: int


class Check(NamedTuple):
    """Ask the head at ``depth`` for the token after ``position`` and its probability."""

    depth: int
    position: int


class Verify(NamedTuple):
    """Ask the last layer for the tokens after positions [start, stop).

    ``drafts`` follow all of these positions but the last. With sampling, a draft that would end the
    text follows the last one too, and is judged like the others.
    """

    start: int
    stop: int
    drafts: tuple[int, ...]


Work = Run | Gate | Check | Verify

WORK_NAMES: dict[type, str] = {Run: "run", Gate: "gate", Check: "check", Verify: "verify"}
"""The name of each kind of work in a recording."""


class Score(NamedTuple):
    """Outcome of a `Gate`: how likely the head is confident and right, in [0, 1]."""

    value: float


class Draft(NamedTuple):
    """Outcome of a `Check`: what the head predicts, and how sure it is."""

    confidence: float
    token: int


class Verdict(NamedTuple):
    """Outcome of a `Verify`: how many drafts hold, and the token after them.

    The token is the last layer's own, or with sampling the draft after the last position, where
    that holds.
    """

    accepted: int
    token: int


Outcome = Score | Draft | Verdict | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One round, from one verification to the next.

    Attributes:
        start: Position of the round's first token.
        exits: Depth at which each draft was taken.
        accepted: Drafts that held.
        committed: Tokens gained.
        work: (segment, n_tokens) of each `Run`, in order.
        checks: Depths of the heads tested, in order.
        gates: Depths of the gates asked, in order.
    """

    start: int
    exits: tuple[int, ...]
    accepted: int
    committed: int
    work: tuple[tuple[int, int], ...]
    checks: tuple[int, ...]
    gates: tuple[int, ...] = ()


@dataclass(kw_only=True, slots=True)
class _Done:
    """What a round has done so far; see `Round`."""

    work: list[tuple[int, int]] = field(default_factory=list)
    checks: list[int] = field(default_factory=list)
    gates: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class Schedule:
    """The decoding of one sequence, from the end of its prefill on.

    After the prefill, ``first_token`` stands at position ``n_prompt`` and is not yet computed.

    Attributes:
        design: The design to follow.
        n_layers: L, the layers of the model.
        n_prompt: Tokens of the prompt.
        first_token: The token that the prefill gave.
        max_new_tokens: Budget, ``first_token`` included; at least 1.
        eos: Tokens that end the text.
        earliest: For the policy ``oracle``, and only for it, returns the depth at which the token
            at a position may leave. No head above it is tested.
        sampled: Whether drafts are drawn, and not the most likely tokens. A drafted end is then
            kept for the last layer to judge (docs/decisions/0018).
        stops: Returns whether the committed tokens end the text with the last of them, as a stop
            string does; nothing ends it so by default. Committed tokens behind that one, and drafts
            beyond it, are thrown away.
        stopped: Whether ``stops`` has ended the text.
        tokens: What is committed, ``first_token`` first. Grows while ``steps()`` runs.
        rounds: What was done. Grows likewise.
        boundaries: The segment boundaries 0..L.
        lengths: For each segment, how many positions have been through it.
        newest: The token at the position being computed, a draft or a committed one.

    Raises:
        DesignError: If an oracle comes without ``earliest``, or another policy with it.
    """

    design: Design
    n_layers: int
    n_prompt: int
    first_token: int
    max_new_tokens: int
    eos: frozenset[int] = frozenset()
    earliest: Callable[[int], int] | None = None
    sampled: bool = False
    stops: Callable[[Sequence[int]], bool] | None = None
    stopped: bool = field(init=False)
    tokens: list[int] = field(init=False)
    rounds: list[Round] = field(init=False, default_factory=list)
    boundaries: tuple[int, ...] = field(init=False)
    lengths: list[int] = field(init=False)
    newest: int = field(init=False)

    def __post_init__(self) -> None:
        if (self.design.policy is Policy.ORACLE) != (self.earliest is not None):
            raise DesignError(
                "the oracle must know where every token may leave, and nobody else may: simulate "
                "it from a recorded trace with adadecode-sim, or run another policy"
            )
        self.tokens = [self.first_token]
        self.stopped = self.stops is not None and self.stops(self.tokens)
        self.newest = self.first_token
        self.boundaries = self.design.boundaries(self.n_layers)
        self.lengths = [self.n_prompt] * (len(self.boundaries) - 1)

    @property
    def done(self) -> bool:
        """Whether the budget is spent or the text has ended."""
        spent = len(self.tokens) >= self.max_new_tokens
        return spent or self.stopped or self.tokens[-1] in self.eos

    def steps(self) -> Generator[Work, Outcome, None]:
        """Hand out work in order. The caller sends the outcome of each piece back in."""
        while not self.done:
            yield from self._round()

    def _round(self) -> Generator[Work, Outcome, None]:
        """Draft until a token reaches the last layer, then verify all that waited."""
        design, lengths = self.design, self.lengths
        first = position = self.n_prompt + len(self.tokens) - 1
        last = len(lengths) - 1
        drafts: list[int] = []
        exits: list[int] = []
        done = _Done()
        end: tuple[int, ...] = ()
        segment = 0
        while True:
            # Lazy catch-up: all that waited here, in one batch.
            start, lengths[segment] = lengths[segment], position + 1
            done.work.append((segment, position + 1 - start))
            yield Run(segment, start, position + 1)
            if segment == last:
                break
            segment += 1
            if end or not self._may_draft(len(drafts)):
                continue
            depth = self.boundaries[segment]
            if self.earliest is not None and depth < self.earliest(position):
                continue
            if not (yield from self._let_through(depth, position, done)):
                continue
            done.checks.append(depth)
            outcome = yield Check(depth, position)
            assert isinstance(outcome, Draft)
            if outcome.confidence <= design.threshold(depth):
                continue
            if outcome.token in self.eos and design.verify:
                # Nothing can follow it: the token runs on, and the last layer decides whether the
                # text ends.
                end = (outcome.token,) if self.sampled else ()
                continue
            drafts.append(outcome.token)
            exits.append(depth)
            if not design.verify and (
                outcome.token in self.eos or len(self.tokens) + len(drafts) >= self.max_new_tokens
            ):
                self._commit(first, drafts, exits, len(drafts), done)
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
        tokens = [*drafts[:accepted], verdict.token]
        committed = self._commit(first, tokens, exits, accepted, done)
        self._rollback(first + committed)

    def _let_through(
        self, depth: int, position: int, done: _Done
    ) -> Generator[Work, Outcome, bool]:
        """Return whether the head may be asked: its gate says so, or the design asks no gate."""
        threshold = self.design.gate(depth)
        if not threshold:
            return True
        done.gates.append(depth)
        outcome = yield Gate(depth, position)
        assert isinstance(outcome, Score)
        return outcome.value > threshold

    def _may_draft(self, drafts: int) -> bool:
        """Return whether one more draft could be of use.

        It is under the cap and, if it must be verified, leaves a token for the last layer.
        """
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
        done: _Done,
    ) -> int:
        """Commit tokens up to the first that stops the text, and return how many those are."""
        committed = self._append(tokens)
        self.newest = self.tokens[-1]
        self.rounds.append(
            Round(
                start=start,
                exits=tuple(exits),
                accepted=min(accepted, committed),
                committed=committed,
                work=tuple(done.work),
                checks=tuple(done.checks),
                gates=tuple(done.gates),
            )
        )
        return committed

    def _append(self, tokens: list[int]) -> int:
        if self.stops is None:
            self.tokens += tokens
            return len(tokens)
        for count, token in enumerate(tokens, 1):
            self.tokens.append(token)
            self.stopped = self.stops(self.tokens)
            if self.stopped:
                return count
        return len(tokens)
