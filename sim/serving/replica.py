"""One server as a process (SimPy): a scheduler, and a device that does one step after the other."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import simpy

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.scheduling.scheduler import Scheduler, Step
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.scheduling.steady_run import MOST_STEPS, SteadyRun
from adadecode.sim.serving.step_price import StepPrice, run_price

_SHORTEST = 16
"""Steps that are priced ahead at least, where a request that comes cut a run short."""


class StepRecord(NamedTuple):
    """What a server did in one step.

    Attributes:
        server: Which server.
        start_s: When its device began.
        seconds: How long it took.
        n_tokens: Tokens that were computed.
        n_sequences: Sequences that they are of.
        running: Sequences that ran when the step was formed.
        waiting: Requests that were queued then.
        kv_blocks: Blocks in use then.
        preempted: Sequences that lost their blocks then.
        segment: The segment that it ran; 0 where a step runs all layers.
    """

    server: int
    start_s: float
    seconds: float
    n_tokens: int
    n_sequences: int
    running: int
    waiting: int
    kv_blocks: int
    preempted: int
    segment: int = 0


@dataclass(kw_only=True)
class Tally:
    """What a server leaves behind.

    Attributes:
        steps: Every step and when it was formed; None where they are not kept.
        n_steps: How many steps there were.
        busy_s: Seconds that they took.
        token_seconds: The same by the tokens of a step.
        kept_out_s: Seconds of steps that requests waited beside, though these had tokens and
            sequences to spare: for want of blocks.
        block_seconds: Blocks in use, summed up over time.
        most_blocks: Most blocks in use in a step.
    """

    steps: list[tuple[float, StepRecord]] | None = None
    n_steps: int = 0
    busy_s: float = 0.0
    token_seconds: dict[int, float] = field(default_factory=dict)
    kept_out_s: float = 0.0
    block_seconds: float = 0.0
    most_blocks: int = 0


@dataclass(kw_only=True)
class _Ahead:
    """A run of steps, as it goes if no request comes; a number of each for every step.

    Attributes:
        run: The run.
        waiting: Requests that are queued meanwhile.
        formed_s: When the first step is formed.
        free_at: When the device is done with what came before.
        seconds: How long a step takes.
        ends: When the device is done with it.
        finished: When the step before it is done, with asynchronous scheduling; else itself. Then
            the next one is formed.
    """

    run: SteadyRun
    waiting: int
    formed_s: float
    free_at: float
    seconds: list[float]
    ends: list[float]
    finished: array[float]

    def turns(self, now: float) -> int:
        """Return how many steps are formed at a time; the last of them is to be waited for."""
        return min(bisect_left(self.finished, now) + 1, len(self.finished))


class Replica:
    """One server: a scheduler, and a device that does one step at a time, in order.

    Its own clock ``now`` goes as if there were an event at the end of every step.

    Args:
        env: The simulation.
        place: Which server it is.
        settings: How it forms its steps.
        price: Returns the seconds of a step.
        tally: Takes what it leaves behind.
        arrived: Lets requests come that are due at this moment.
        ended: Takes each request that ended, and when.
        looks_ahead: Whether steps that are alike are one event.
    """

    def __init__(
        self,
        env: simpy.Environment,
        place: int,
        settings: ServerSettings,
        price: StepPrice,
        tally: Tally,
        arrived: Callable[[], None],
        ended: Callable[[ServedRequest, float], None],
        *,
        looks_ahead: bool = True,
    ) -> None:
        self.env, self.place, self.price, self.tally = env, place, run_price(price), tally
        self.arrived, self.ended, self.looks_ahead = arrived, ended, looks_ahead
        self.scheduler = Scheduler(settings)
        self.depth = 2 if settings.async_scheduling else 1
        self.wake: simpy.Event | None = None
        self.ahead: _Ahead | None = None
        self.longest = _SHORTEST
        self.on_their_way: deque[tuple[Step, float]] = deque()
        self.now = self.free_at = self.counted_at = 0.0

    @property
    def n_unfinished(self) -> int:
        """Requests that are queued or run."""
        return self.scheduler.n_unfinished

    def n_cached(self, request: Request) -> int:
        """Return how many blocks of a prompt, from its beginning on, would not be computed."""
        if self.ahead is not None:
            self.ahead.run.form(self.ahead.turns(self.env.now))
        return self.scheduler.n_cached(request)

    def add(self, request: Request) -> None:
        """Queue a request, and wake the server where it sleeps."""
        self.scheduler.add(request)
        if self.wake is not None:
            self.wake.succeed()
            self.wake = None

    def run(self) -> Generator[simpy.Event, Any, None]:
        """Serve for ever."""
        scheduler, on_their_way = self.scheduler, self.on_their_way
        while True:
            self._count_blocks(self.now)
            if ahead := self._look_ahead():
                yield from self._go_on(ahead)
                continue
            step = scheduler.next_step(self.now)
            if step is not None:
                on_their_way.append((step, self._begin(step)))
                if len(on_their_way) < self.depth:
                    continue
            if not on_their_way:
                self.wake = self.env.event()
                yield self.wake
                self.now = self.env.now
                continue
            step, end = on_their_way.popleft()
            yield self.env.timeout(end - self.env.now)
            self.now += end - self.now
            self._count_blocks(self.now)
            for one in scheduler.finish(step, self.now):
                self.ended(one.served(scheduler.clock), self.now)
            self.arrived()

    def tally_until(self, end: float) -> Tally:
        """Return what it leaves behind when the simulation ends, at that time."""
        self._count_blocks(end)
        return self.tally

    def _count_blocks(self, until: float) -> None:
        """Count the blocks that have been in use since they were counted last."""
        self.tally.block_seconds += self.scheduler.cache.n_used * (until - self.counted_at)
        self.counted_at = until

    def _begin(self, step: Step) -> float:
        """Give a step to the device, and return when it will be done."""
        seconds = self.price(step.work)
        if not 0 < seconds < float("inf"):
            raise LatencyError(f"wanted steps that take time, got one of {seconds!r} s")
        start = max(self.now, self.free_at)
        self.free_at = start + seconds
        tally, scheduler = self.tally, self.scheduler
        used = scheduler.cache.n_used
        tally.n_steps += 1
        tally.busy_s += seconds
        tally.most_blocks = max(tally.most_blocks, used)
        self._count_seconds(step.work.n_tokens, len(scheduler.waiting), seconds)
        if tally.steps is not None:
            record = StepRecord(
                server=self.place,
                start_s=start,
                seconds=seconds,
                n_tokens=step.work.n_tokens,
                n_sequences=step.work.n_sequences,
                running=len(scheduler.running),
                waiting=len(scheduler.waiting),
                kv_blocks=used,
                preempted=step.preempted,
            )
            tally.steps.append((self.now, record))
        return self.free_at

    def _count_seconds(self, n_tokens: int, waiting: int, seconds: float) -> None:
        """Count the seconds of steps of so many tokens, beside so many queued requests."""
        scheduler, tally = self.scheduler, self.tally
        tally.token_seconds[n_tokens] = tally.token_seconds.get(n_tokens, 0.0) + seconds
        if waiting and scheduler.settings.has_room(n_tokens, len(scheduler.running)):
            tally.kept_out_s += seconds

    def _look_ahead(self) -> _Ahead | None:
        """Return the steps that come if no request does; None where the next two are not alike."""
        if not self.looks_ahead or len(self.on_their_way) != self.depth - 1:
            return None
        run = SteadyRun.of(self.scheduler, [step for step, _ in self.on_their_way])
        if run is None:
            return None
        prices = self.price.decoding(run.contexts, min(run.most, self.longest))
        if not (min(prices) > 0 and sum(prices) < float("inf")):
            return None  # `_begin` says so where it comes to that
        now, free_at = self.now, self.free_at
        ends = [end for _, end in self.on_their_way]
        finished = array("d")
        for turn, seconds in enumerate(prices):
            free_at = max(now, free_at) + seconds
            ends.append(free_at)
            now += ends[turn] - now
            finished.append(now)
        return _Ahead(
            run=run,
            waiting=len(self.scheduler.waiting),
            formed_s=self.now,
            free_at=self.free_at,
            seconds=prices,
            ends=ends[-len(prices) :],
            finished=finished,
        )

    def _go_on(self, ahead: _Ahead) -> Generator[simpy.Event, Any, None]:
        """Let steps that are alike pass, until they are over or a request comes."""
        woken = self.env.event()
        self.ahead, self.wake = ahead, woken
        turns = len(ahead.finished)
        yield self.env.timeout(ahead.finished[-1] - self.env.now) | woken
        if woken.triggered:
            turns = ahead.turns(self.env.now)
            self.longest = max(_SHORTEST, turns)
            yield self.env.timeout(max(ahead.finished[turns - 1] - self.env.now, 0.0))
        else:
            self.wake = None
            self.longest = min(2 * self.longest, MOST_STEPS)
        self._pass(ahead, turns)
        self.ahead = None
        self.arrived()

    def _pass(self, ahead: _Ahead, turns: int) -> None:
        """Note what was done in so many steps of a run."""
        tally, run = self.tally, ahead.run
        last = run.finish(ahead.finished[:turns])
        formed, count, free_at = ahead.formed_s, len(run.contexts), ahead.free_at
        for turn in range(turns):
            seconds, used, finished = ahead.seconds[turn], run.used[turn], ahead.finished[turn]
            tally.busy_s += seconds
            tally.block_seconds += used * (finished - formed)
            if tally.steps is not None:
                record = StepRecord(
                    server=self.place,
                    start_s=max(formed, free_at),
                    seconds=seconds,
                    n_tokens=count,
                    n_sequences=count,
                    running=count,
                    waiting=ahead.waiting,
                    kv_blocks=used,
                    preempted=0,
                )
                tally.steps.append((formed, record))
            formed, free_at = finished, ahead.ends[turn]
        tally.n_steps += turns
        tally.most_blocks = max(tally.most_blocks, run.used[turns - 1])
        self._count_seconds(count, ahead.waiting, sum(ahead.seconds[:turns]))
        self.price.count(run.contexts, turns)
        self.free_at = free_at
        self.now = self.counted_at = formed
        if self.on_their_way:
            self.on_their_way[0] = (last, free_at)
