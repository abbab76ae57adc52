"""Servers behind one queue, and the requests that they are still to get (SimPy)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import simpy

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.routing import Route


class DeployedServer(Protocol):
    """A server of a deployment, whatever it runs."""

    @property
    def n_unfinished(self) -> int:
        """Requests that are queued or run."""

    def add(self, request: Request) -> None:
        """Queue a request, and wake the server where it sleeps."""

    def run(self) -> Generator[simpy.Event, Any, None]:
        """Serve for ever."""


class Deployment:
    """Servers behind one queue, and the requests that they are still to get.

    Attributes:
        servers: The servers, to be filled in before `start`.
        done: What happens when the last request has ended.

    Args:
        env: The simulation.
        requests: The requests, in the order of their arrival.
        in_flight: How many are in flight at all times; None where each arrives at its time.
        route: Picks the server of a request.
        progress: Called with how many requests of all have ended, each time that one does.
    """

    def __init__(
        self,
        env: simpy.Environment,
        requests: Sequence[Request],
        in_flight: int | None,
        route: Route,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.env, self.in_flight, self.route = env, in_flight, route
        self.progress, self.total = progress, len(requests)
        self.servers: Sequence[DeployedServer] = ()
        self.to_come = deque(requests)
        self.unfinished = len(requests)
        self.due_at = math.inf
        self.done = env.event()

    def start(self) -> None:
        """Let the first requests come, and the servers begin."""
        if self.in_flight is None:
            self.env.process(self._arrive())
        for _ in range(self.in_flight or 0):
            self._enter(0.0)
        for server in self.servers:
            self.env.process(server.run())

    def ended(self, now: float | None = None) -> None:
        """Count a request that ended. In a closed loop it lets the next one in.

        Args:
            now: When it ended; this moment by default.
        """
        self.unfinished -= 1
        if self.progress is not None:
            self.progress(self.total - self.unfinished, self.total)
        if self.in_flight is not None:
            self._enter(self.env.now if now is None else now)
        if not self.unfinished:
            self.stop()

    def stop(self) -> None:
        """End the simulation, whatever is still to come."""
        if not self.done.triggered:
            self.done.succeed()

    def arrive(self) -> None:
        """Let requests come that are due at this moment.

        A server that forms a step at this very moment has them, in whatever order events are.
        """
        now = self.env.now
        while self.to_come and self.due_at <= now:
            self._send(self.to_come.popleft())
            if self.to_come:
                self.due_at = max(now + (self.to_come[0].arrival_s - now), now)

    def _enter(self, now: float) -> None:
        if self.to_come:
            self._send(replace(self.to_come.popleft(), arrival_s=now))

    def _arrive(self) -> Generator[simpy.Event, Any, None]:
        self.due_at = self.to_come[0].arrival_s
        while self.to_come:
            if self.due_at > self.env.now:
                yield self.env.timeout(self.to_come[0].arrival_s - self.env.now)
            self.arrive()

    def _send(self, request: Request) -> None:
        self.servers[self.route(self.servers, request)].add(request)


def check_load(requests: Sequence[Request], in_flight: int | None, replicas: int) -> None:
    """Refuse what cannot be served.

    Raises:
        InputError: If there is no request, they run backwards in time, one has no tokens, or a
            number is below 1.
    """
    if not requests:
        raise InputError("wanted requests to serve, got none")
    if not replicas >= 1:
        raise InputError(f"wanted 1 or more servers, got {replicas}")
    if in_flight is not None and in_flight < 1:
        raise InputError(f"wanted 1 or more requests in flight, got {in_flight}")
    last = 0.0
    for one in requests:
        if not (last <= one.arrival_s < float("inf") and one.n_prompt > 0 and one.n_output > 0):
            raise InputError(
                "wanted requests of 1 or more tokens of prompt and of output, in the order of "
                f"their arrival, got {one.n_prompt} and {one.n_output} tokens at {one.arrival_s} "
                f"s as {one.name}, after one at {last} s"
            )
        last = one.arrival_s
