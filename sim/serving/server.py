"""The simulation of a deployment: servers and arrivals are processes (SimPy).

A server forms a step, waits while its device computes it, and gives out its tokens. With
asynchronous scheduling it forms the next step before that, when the device begins with this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import simpy

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.deployment import Deployment, check_load
from adadecode.sim.serving.metrics.server_use import ServerUse
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.routing import find_routing
from adadecode.sim.serving.scheduling.scheduler import Scheduler, Step
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.scheduling.step import StepWork

StepPrice = Callable[[StepWork], float]
"""Returns the seconds that a device takes for a step."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedLoad:
    """What came of some requests.

    Attributes:
        served: The requests, in the order in which they ended.
        use: What the servers did.
        n_steps: Steps of all servers.
        hit_share: Share of the tokens of prompts that was found in the cache, at first admission.
        blocks_at_end: Blocks in use when the last request ended, of each server.
        steps: Every step, in the order in which they were done; empty where they are not kept.
    """

    served: tuple[ServedRequest, ...]
    use: ServerUse
    n_steps: int
    hit_share: float
    blocks_at_end: tuple[int, ...]
    steps: tuple[StepRecord, ...] = ()


@dataclass(kw_only=True)
class _Tally:
    """What the servers of a deployment leave behind."""

    keep_steps: bool
    served: list[ServedRequest] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    n_steps: int = 0
    busy_s: float = 0.0
    block_seconds: float = 0.0
    most_blocks: int = 0


class _Server:
    """One server: a scheduler, and a device that does one step at a time, in order."""

    def __init__(
        self,
        env: simpy.Environment,
        place: int,
        settings: ServerSettings,
        price: StepPrice,
        tally: _Tally,
        ended: Callable[[], None],
    ) -> None:
        self.env, self.place, self.price, self.tally = env, place, price, tally
        self.scheduler = Scheduler(settings)
        self.depth = 2 if settings.async_scheduling else 1
        self.ended = ended
        self.wake: simpy.Event | None = None
        self.free_at = 0.0
        self.counted_at = 0.0

    @property
    def n_used(self) -> int:
        """Blocks in use."""
        return self.scheduler.cache.n_used

    @property
    def n_unfinished(self) -> int:
        """Requests that are queued or run."""
        return self.scheduler.n_unfinished

    def add(self, request: Request) -> None:
        """Queue a request, and wake the server where it sleeps."""
        self.scheduler.add(request)
        if self.wake is not None:
            self.wake.succeed()
            self.wake = None

    def run(self) -> Generator[simpy.Event, Any, None]:
        """Serve for ever."""
        env, scheduler = self.env, self.scheduler
        on_their_way: deque[tuple[Step, float]] = deque()
        while True:
            self.count_blocks()
            step = scheduler.next_step(env.now)
            if step is not None:
                on_their_way.append((step, self._begin(step)))
                if len(on_their_way) < self.depth:
                    continue
            if not on_their_way:
                self.wake = env.event()
                yield self.wake
                continue
            step, end = on_their_way.popleft()
            yield env.timeout(end - env.now)
            self.count_blocks()
            ended = scheduler.finish(step, env.now)
            for one in ended:
                self.tally.served.append(one.served())
            for _ in ended:
                self.ended()

    def count_blocks(self) -> None:
        """Count the blocks that have been in use since they were counted last."""
        self.tally.block_seconds += self.n_used * (self.env.now - self.counted_at)
        self.counted_at = self.env.now

    def _begin(self, step: Step) -> float:
        """Give a step to the device, and return when it will be done."""
        seconds = self.price(step.work)
        if not 0 < seconds < float("inf"):
            raise LatencyError(f"wanted steps that take time, got one of {seconds!r} s")
        start = max(self.env.now, self.free_at)
        self.free_at = start + seconds
        tally, scheduler = self.tally, self.scheduler
        used = self.n_used
        tally.n_steps += 1
        tally.busy_s += seconds
        tally.most_blocks = max(tally.most_blocks, used)
        if tally.keep_steps:
            tally.steps.append(
                StepRecord(
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
            )
        return self.free_at


def serve(
    requests: Sequence[Request],
    settings: ServerSettings,
    price: StepPrice,
    *,
    in_flight: int | None = None,
    replicas: int = 1,
    routing: str = "round-robin",
    keep_steps: bool = False,
) -> ServedLoad:
    """Serve requests to the end.

    The same arguments give the same result, bit for bit.

    Args:
        requests: The requests, in the order of their arrival.
        settings: How each server forms its steps.
        price: Returns the seconds of a step.
        in_flight: How many are in flight at all times (a closed loop): each that ends lets the
            next one in, which arrives then. By default each arrives at its time.
        replicas: Servers, all alike.
        routing: The rule that picks the server of a request, of `ROUTINGS`.
        keep_steps: Whether to keep every step.

    Raises:
        InputError: If there is no request, one is larger than the memory, they run backwards in
            time, or a number or name is wrong.
        LatencyError: If the price of a step is none.
    """
    check_load(requests, in_flight, replicas)
    env, tally = simpy.Environment(0.0), _Tally(keep_steps=keep_steps)
    whole = Deployment(env, requests, in_flight, find_routing(routing))
    servers = [
        _Server(env, place, settings, price, tally, whole.ended) for place in range(replicas)
    ]
    whole.servers = servers
    whole.start()
    env.run(whole.done)
    return _load(tally, servers, settings, env.now)


def _load(
    tally: _Tally, servers: Sequence[_Server], settings: ServerSettings, end: float
) -> ServedLoad:
    """Return what came of it until the last request ended."""
    prompts = sum(one.scheduler.prompt_tokens for one in servers)
    blocks = settings.usable_blocks
    for one in servers:
        one.count_blocks()
    span = end - min(one.request.arrival_s for one in tally.served)
    # A step that began may last beyond the end.
    beyond = sum(max(one.free_at - end, 0.0) for one in servers)
    return ServedLoad(
        served=tuple(tally.served),
        use=ServerUse(
            devices=len(servers),
            busy_s=tally.busy_s - beyond,
            kv_mean=tally.block_seconds / (len(servers) * span * blocks),
            kv_peak=tally.most_blocks / blocks,
        ),
        n_steps=tally.n_steps,
        hit_share=sum(one.scheduler.hit_tokens for one in servers) / prompts,
        blocks_at_end=tuple(one.n_used for one in servers),
        steps=tuple(tally.steps),
    )
