"""Send a load in real time: each request at its time, or so many in flight all the time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from adadecode.sim.serving.observing.client import Client, Clock, find_model, open_connections
from adadecode.sim.serving.observing.endpoint import Endpoint, check_fields
from adadecode.sim.serving.observing.observed_request import ObservedRequest
from adadecode.sim.serving.observing.prompt_texts import PromptText, drawn_texts
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.workloads.workload import Workload

LATE_S = 0.01
"""Seconds by which a request may be sent late before it is told."""

KEEP_S = 10.0
"""Seconds after which what there is is kept."""

TIMEOUT_S = 600.0
"""Most seconds of a request, by default."""


@dataclass(kw_only=True)
class Observation:
    """What has become of a load. It stays whole where the run is interrupted.

    Attributes:
        model: The model that was asked.
        requests: The requests that ended, in the order in which they did.
    """

    model: str = ""
    requests: list[ObservedRequest] = field(default_factory=list)

    @property
    def answered(self) -> tuple[ServedRequest, ...]:
        """The requests that were answered, in the order of their arrival, which begins at 0 s."""
        good = sorted(
            (one for one in self.requests if one.failure is None), key=lambda one: one.sent_ns
        )
        return tuple(one.served(good[0].sent_ns) for one in good)

    @property
    def failures(self) -> Counter[str]:
        """How many requests failed, by how."""
        return Counter(one.failure.name for one in self.requests if one.failure is not None)

    @property
    def late(self) -> int:
        """How many requests were sent more than `LATE_S` after they were to be."""
        return sum(one.late_s > LATE_S for one in self.requests)


def observe(
    endpoint: Endpoint,
    workload: Workload,
    found: Observation,
    *,
    model: str | None = None,
    key: str | None = None,
    texts: PromptText | None = None,
    more: Mapping[str, Any] | None = None,
    most_tokens: int | None = None,
    concurrency: int | None = None,
    timeout_s: float = TIMEOUT_S,
    report: Callable[[int, int], None] | None = None,
    keep: Callable[[], None] | None = None,
) -> None:
    """Send a load to a server, and record what became of every request.

    A request that fails is recorded, whatever the reason, and the others go on. Needs httpx (the
    extra ``observe``).

    Args:
        endpoint: The interface of the server.
        workload: When requests are sent, and how long they and their answers are.
        found: Takes each request as it ends.
        model: Name of the model; the only one of the server by default.
        key: What the server wants to see; it is recorded nowhere.
        texts: The prompts; plain words drawn with the seed of the workload by default.
        more: Fields of the body that are added or replaced; see `Endpoint.body`.
        most_tokens: Most tokens of an answer.
        concurrency: Most requests in flight. Those beyond it are sent later than they were to be.
        timeout_s: Most seconds of a request.
        report: Called with how many requests have ended, and of how many.
        keep: Called now and then, in a thread of its own, to keep what there is.

    Raises:
        InputError: If nobody answers at the address, the model is not known, ``more`` is no JSON,
            or ``keep`` raises it.
    """
    check_fields(more or {})

    async def run() -> None:
        async with open_connections(key) as http:
            found.model = await find_model(http, endpoint, model)
            clock = Clock()
            client = Client(
                http=http,
                endpoint=endpoint,
                model=found.model,
                more=more or {},
                timeout_s=timeout_s,
                clock=clock,
            )
            driver = _Driver(
                client=client,
                workload=workload,
                found=found,
                texts=texts or drawn_texts(workload.seed or 0),
                most_tokens=most_tokens,
                turn=nullcontext() if concurrency is None else asyncio.Semaphore(concurrency),
                report=report or (lambda _done, _total: None),
            )
            await _beside(driver.run(), keep)

    asyncio.run(run())


async def _beside(work: Coroutine[Any, Any, None], keep: Callable[[], None] | None) -> None:
    """Do work, and call a function every `KEEP_S` until it is done; end it where that fails."""
    doing = asyncio.create_task(work)
    try:
        while not doing.done():
            await asyncio.wait([doing], timeout=KEEP_S)
            if keep is not None and not doing.done():
                await asyncio.to_thread(keep)
        await doing
    finally:
        doing.cancel()


@dataclass(frozen=True, kw_only=True)
class _Driver:
    """Sends the requests of a workload."""

    client: Client
    workload: Workload
    found: Observation
    texts: PromptText
    most_tokens: int | None
    turn: AbstractAsyncContextManager[Any]
    report: Callable[[int, int], None]

    async def run(self) -> None:
        """Send all requests, and wait for the last answer."""
        async with asyncio.TaskGroup() as group:
            if self.workload.in_flight is not None:
                waiting = iter(enumerate(self.workload.requests))
                for _ in range(min(self.workload.in_flight, len(self.workload.requests))):
                    group.create_task(self._one_after_the_other(waiting))
                return
            start_ns = self.client.clock.now()
            for number, request in enumerate(self.workload.requests):
                due_ns = start_ns + round(1e9 * request.arrival_s)
                await self._until(due_ns)
                group.create_task(self._send(number, request, due_ns))

    async def _one_after_the_other(self, waiting: Iterator[tuple[int, Request]]) -> None:
        for number, request in waiting:
            await self._send(number, request, self.client.clock.now())

    async def _until(self, due_ns: int) -> None:
        """Sleep until it is time. Others get their turn even where it is late."""
        await asyncio.sleep(max(1e-9 * (due_ns - self.client.clock.now()), 0.0))

    async def _send(self, number: int, request: Request, due_ns: int) -> None:
        prompt = self.texts(number, request)
        n_output = min(request.n_output, self.most_tokens or request.n_output)
        async with self.turn:
            sent_ns = self.client.clock.now()
            received = await self.client.ask(prompt, n_output)
        answer, good = received.answer, received.failure is None
        self.found.requests.append(
            ObservedRequest(
                name=request.name,
                number=number,
                due_ns=due_ns,
                sent_ns=sent_ns,
                end_ns=received.end_ns,
                chunk_ns=tuple(answer.chunk_ns),
                n_prompt=(answer.n_prompt or 0) if good else 0,
                n_output=(answer.n_output or 0) if good else 0,
                failure=received.failure,
            )
        )
        self.report(len(self.found.requests), len(self.workload.requests))
