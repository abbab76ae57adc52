"""The rules by which vLLM's scheduler (v1) forms steps, as a pure state machine.

There is no clock and no device here. A server asks for the next step, computes it, and says when
it is done::

    scheduler.add(request)
    step = scheduler.next_step(now)      None where there is nothing to compute
    ended = scheduler.finish(step, now)  requests whose last token came out

Sequences that run come first, in the order of their admission: each takes what is left of its
text, within the tokens of the step. One that finds no block takes those of the most recently
admitted one, which goes back to the front of the queue and is computed again. In a step where
nobody lost its blocks, queued requests are admitted in order, prompts cut into chunks.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.scheduling.block_cache import BlockCache
from adadecode.sim.serving.scheduling.sequence import Sequence
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.scheduling.step import StepWork


@dataclass(slots=True)
class Step:
    """A step on its way.

    Attributes:
        work: What its time depends on.
        emitting: Sequences that a token comes out of.
        preempted: Sequences that lost their blocks when it was formed.
    """

    work: StepWork
    emitting: list[Sequence]
    preempted: int = 0


class _Room(NamedTuple):
    """What a queued request would get.

    Attributes:
        hits: Blocks that hold the beginning of its text.
        computed: Positions that it would not compute.
        wanted: Tokens that it would compute first.
        first: Blocks for these.
        fits: Whether there are enough.
    """

    hits: list[int]
    computed: int
    wanted: int
    first: int
    fits: bool


class Scheduler:
    """The state of one server.

    Args:
        settings: How it forms its steps.

    Attributes:
        clock: When each step that is done ended.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.cache = BlockCache(settings.usable_blocks, keeps_content=settings.prefix_caching)
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.clock = array("d")
        self.hit_tokens = 0
        self.prompt_tokens = 0
        self._count = 0

    @property
    def n_unfinished(self) -> int:
        """Requests that are queued or run."""
        return len(self.running) + len(self.waiting)

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            InputError: If it needs more blocks than there are.
        """
        positions = request.n_prompt + request.n_output - 1
        if (needed := self.settings.blocks_of(positions)) > self.settings.usable_blocks:
            raise InputError(
                f"request {request.name} of {request.n_prompt:,} + {request.n_output:,} tokens "
                f"needs {needed:,} blocks of keys and values, of {self.settings.usable_blocks:,}: "
                "give more with --kv-blocks, or leave it out"
            )
        self.waiting.append(Sequence(request, self._count))
        self._count += 1

    def n_cached(self, request: Request) -> int:
        """Return how many blocks of a prompt, from its beginning on, would not be computed."""
        whole = (request.n_prompt - 1) // self.settings.block_size
        return len(self.cache.find(islice(request.blocks, whole)))

    def next_step(self, now: float) -> Step | None:
        """Form the next step; None where there is nothing to compute."""
        step = Step(StepWork(), [])
        budget = self._run_on(step, self.settings.max_batched_tokens)
        if not step.preempted:
            self._admit(step, budget, now)
        return step if step.work.contexts or step.work.chunks else None

    def finish(self, step: Step, now: float) -> list[Sequence]:
        """Take the tokens of a step that is done, and return the sequences that ended with it."""
        ended = []
        place = len(self.clock)
        self.clock.append(now)
        for one in step.emitting:
            one.known += 1
            one.pending -= 1
            if one.stop != place:
                one.begin_stretch(place)
            one.stop = place + 1
            if one.known == one.last:
                ended.append(one)
        for one in ended:
            self.cache.give_back(one.blocks)
            if not one.running:
                self.waiting.remove(one)
        if any(one.running for one in ended):
            gone = set(map(id, ended))
            self.running = [one for one in self.running if id(one) not in gone]
        return ended

    def admits(self) -> bool:
        """Return whether the next step could admit a request, if all who run take one token."""
        budget = self.settings.max_batched_tokens - len(self.running)
        if not self.waiting or budget <= 0 or len(self.running) >= self.settings.max_num_seqs:
            return False
        found = self._room_for(self.waiting[0], budget)
        # Without room for the whole prompt, a hit that is lost to others may make it fit.
        return found.fits or (bool(found.hits) and not self.settings.reserve_whole_prompt)

    def _run_on(self, step: Step, budget: int) -> int:
        """Let those that run go on, and return what is left of the tokens."""
        contexts, emitting, running = step.work.contexts, step.emitting, self.running
        size = self.settings.block_size
        place = 0
        while place < len(running) and budget:
            one = running[place]
            place += 1
            computed, known = one.computed, one.known
            ahead = known + one.pending
            wanted = min(ahead - computed, budget)
            if not wanted or (ahead == one.last and one.pending):
                continue  # waits for its last token
            if computed + wanted > one.room:
                missing = -(-(computed + wanted - one.room) // size)
                if not self._make_room(one, missing, step):
                    break
                one.blocks += self.cache.take(missing)
                one.room += missing * size
            if wanted > 1 or computed + 1 < ahead or one.shares:
                self._schedule(one, wanted, step)
            else:  # what `_schedule` does of the next token of a text
                contexts.append(computed)
                emitting.append(one)
                one.computed = ahead
                one.pending += 1
                one.noted = known
            budget -= wanted
        return budget

    def _make_room(self, one: Sequence, missing: int, step: Step) -> bool:
        """Free blocks for a sequence, if need be its own; return whether it goes on."""
        while self.cache.n_free < missing:
            victim = self.running.pop()
            self._note_all(victim)
            self.cache.give_back(victim.blocks)
            victim.computed = victim.remembered = victim.noted = victim.room = 0
            victim.preemptions += 1
            victim.running = False
            self.waiting.appendleft(victim)
            step.preempted += 1
            if victim is one:
                return False
        return True

    def _admit(self, step: Step, budget: int, now: float) -> None:
        """Admit queued requests, in order, as far as tokens, places and blocks reach."""
        settings, cache = self.settings, self.cache
        while self.waiting and budget and len(self.running) < settings.max_num_seqs:
            one = self.waiting[0]
            found = self._room_for(one, budget)
            if not found.fits:
                return
            self.waiting.popleft()
            hits = found.hits
            cache.use(hits)
            one.blocks = [*hits, *cache.take(found.first)]
            one.room = len(one.blocks) * settings.block_size
            one.computed, one.remembered, one.running = found.computed, len(hits), True
            one.shares = len(hits) < len(one.request.blocks)
            self.running.append(one)
            if one.scheduled_s < 0:
                one.scheduled_s = now
                self.prompt_tokens += one.known
                self.hit_tokens += found.computed
            self._schedule(one, found.wanted, step)
            budget -= found.wanted

    def _room_for(self, one: Sequence, budget: int) -> _Room:
        """Return what a queued request would get."""
        settings, cache = self.settings, self.cache
        hits = cache.find(islice(one.contents(), (one.known - 1) // settings.block_size))
        computed = len(hits) * settings.block_size
        wanted = min(one.known - computed, budget)
        first = settings.blocks_of(computed + wanted) - len(hits)
        needed = (
            settings.blocks_of(one.known) - len(hits) if settings.reserve_whole_prompt else first
        )
        fits = needed + cache.n_idle(hits) <= cache.n_free
        return _Room(hits, computed, wanted, first, fits)

    def _schedule(self, one: Sequence, n_tokens: int, step: Step) -> None:
        """Put so many tokens of a sequence into a step."""
        step.work.add(n_tokens, one.computed)
        one.computed += n_tokens
        if one.computed == one.known + one.pending:
            one.pending += 1
            step.emitting.append(one)
        one.noted = min(one.computed, one.known)
        if one.shares:
            shared = len(one.request.blocks)
            self._note(one, min(one.noted // self.settings.block_size, shared))
            one.shares = one.remembered < shared

    def _note_all(self, one: Sequence) -> None:
        """Note the content of all full blocks of a sequence that is to lose them.

        Blocks that others may look for are noted at once. Its own ones are of use to nobody else,
        and so not before.
        """
        positions = max(one.noted, one.computed - one.pending)
        self._note(one, positions // self.settings.block_size)

    def _note(self, one: Sequence, full: int) -> None:
        """Note the content of so many blocks."""
        while one.remembered < full:
            self.cache.remember(one.blocks[one.remembered], one.content(one.remembered))
            one.remembered += 1
