"""The simulation of a deployment: servers and arrivals are processes (SimPy).

A server forms a step, waits while its device computes it, and gives out its tokens. With
asynchronous scheduling it forms the next step before that, when the device begins with this one.
Steps that are alike, between two requests that join or leave, are one event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import simpy

from adadecode.sim.serving.deployment import Deployment, check_load
from adadecode.sim.serving.metrics.server_use import ServerUse
from adadecode.sim.serving.replica import Replica, StepRecord, Tally
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.routing import find_routing
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.step_price import StepPrice

__all__ = ["ServedLoad", "StepRecord", "TimeShares", "serve"]


@dataclass(frozen=True, kw_only=True)
class TimeShares:
    """What share of the time of all steps is of which kind.

    Attributes:
        kept_out: Steps that requests waited beside for want of blocks: these had tokens and
            sequences to spare.
        by_tokens: Steps by their number of tokens, rising.
    """

    kept_out: float
    by_tokens: Mapping[int, float]

    @classmethod
    def of(cls, steps: Sequence[StepRecord], settings: ServerSettings) -> TimeShares:
        """Return the shares of some steps.

        Args:
            steps: One step or more.
            settings: How their servers formed them.
        """
        total = sum(one.seconds for one in steps)
        shares: dict[int, float] = {}
        kept_out = 0.0
        for one in steps:
            shares[one.n_tokens] = shares.get(one.n_tokens, 0.0) + one.seconds / total
            if settings.has_room(one.n_tokens, one.running) and one.waiting:
                kept_out += one.seconds / total
        return cls(kept_out=kept_out, by_tokens=dict(sorted(shares.items())))


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedLoad:
    """What came of some requests.

    Attributes:
        served: The requests, in the order in which they ended.
        use: What the servers did.
        n_steps: Steps of all servers.
        hit_share: Share of the tokens of prompts that was found in the cache, at first admission.
        blocks_at_end: Blocks in use when the last request ended, of each server.
        shares: What of the servers' time is of which kind.
        steps: Every step, in the order in which they were formed; empty where they are not kept.
    """

    served: tuple[ServedRequest, ...]
    use: ServerUse
    n_steps: int
    hit_share: float
    blocks_at_end: tuple[int, ...]
    shares: TimeShares | None = None
    steps: tuple[StepRecord, ...] = ()


def serve(
    requests: Sequence[Request],
    settings: ServerSettings,
    price: StepPrice,
    *,
    in_flight: int | None = None,
    replicas: int = 1,
    routing: str = "round-robin",
    keep_steps: bool = False,
    watch: Callable[[ServedRequest], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        watch: Called with each request that ended. Where it returns True, the run is stopped, and
            the rest is not served.
        progress: Called with how many requests of all have ended, each time that one does.

    Raises:
        InputError: If there is no request, one is larger than the memory, they run backwards in
            time, or a number or name is wrong.
        LatencyError: If the price of a step is none.
    """
    check_load(requests, in_flight, replicas)
    env, served = simpy.Environment(0.0), list[ServedRequest]()
    whole = Deployment(env, requests, in_flight, find_routing(routing), progress)
    end = 0.0

    def ended(one: ServedRequest, now: float) -> None:
        nonlocal end
        end = now
        served.append(one)
        whole.ended(now)
        if watch is not None and watch(one):
            whole.stop()

    # In a closed loop, what one server does at the end of a step reaches others at that moment.
    alone = in_flight is None or replicas == 1
    servers = [
        Replica(
            env,
            place,
            settings,
            price,
            Tally(steps=[] if keep_steps else None),
            arrived=whole.arrive,
            ended=ended,
            looks_ahead=alone,
        )
        for place in range(replicas)
    ]
    whole.servers = servers
    whole.start()
    env.run(whole.done)
    return _load(served, servers, settings, end)


def _load(
    served: Sequence[ServedRequest],
    servers: Sequence[Replica],
    settings: ServerSettings,
    end: float,
) -> ServedLoad:
    """Return what came of it until the last request ended."""
    prompts = sum(one.scheduler.prompt_tokens for one in servers)
    blocks = settings.usable_blocks
    tallies = [one.tally_until(end) for one in servers]
    span = end - min(one.request.arrival_s for one in served)
    # A step that began may last beyond the end.
    beyond = sum(max(one.free_at - end, 0.0) for one in servers)
    steps = [step for one in tallies for step in one.steps or ()]
    steps.sort(key=lambda step: step[0])
    return ServedLoad(
        served=tuple(served),
        use=ServerUse(
            devices=len(servers),
            busy_s=sum(one.busy_s for one in tallies) - beyond,
            kv_mean=sum(one.block_seconds for one in tallies) / (len(servers) * span * blocks),
            kv_peak=max(one.most_blocks for one in tallies) / blocks,
        ),
        n_steps=sum(one.n_steps for one in tallies),
        hit_share=sum(one.scheduler.hit_tokens for one in servers) / prompts,
        blocks_at_end=tuple(one.scheduler.cache.n_used for one in servers),
        shares=_shares(tallies),
        steps=tuple(step for _, step in steps),
    )


def _shares(tallies: Sequence[Tally]) -> TimeShares:
    total = sum(one.busy_s for one in tallies)
    seconds: dict[int, float] = {}
    for one in tallies:
        for count, taken in one.token_seconds.items():
            seconds[count] = seconds.get(count, 0.0) + taken
    return TimeShares(
        kept_out=sum(one.kept_out_s for one in tallies) / total,
        by_tokens={count: seconds[count] / total for count in sorted(seconds)},
    )
