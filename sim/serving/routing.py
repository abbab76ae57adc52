"""Which of several alike servers a request goes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Protocol, runtime_checkable

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.request import Request


class RoutedServer(Protocol):
    """A server, as a rule sees it."""

    @property
    def n_unfinished(self) -> int:
        """Requests that are queued or run."""


@runtime_checkable
class KeepsPrefixes(Protocol):
    """A server that keeps what it computed of prompts."""

    def n_cached(self, request: Request) -> int:
        """Return how many blocks of a prompt, from its beginning on, would not be computed."""


Route = Callable[[Sequence[RoutedServer], Request], int]
"""Returns the place of the server that a request goes to."""


def round_robin() -> Route:
    """Return a rule that takes one server after the other."""
    turn = count()
    return lambda servers, _: next(turn) % len(servers)


def least_loaded() -> Route:
    """Return a rule that takes the server with the fewest requests, the first of several."""
    return lambda servers, _: min(range(len(servers)), key=lambda one: servers[one].n_unfinished)


def prefix_aware() -> Route:
    """Return a rule that takes the server that holds most of the prompt's beginning.

    Of several it takes the least loaded one, as it does for a prompt that nobody knows.
    """

    def route(servers: Sequence[RoutedServer], request: Request) -> int:
        def rank(place: int) -> tuple[int, int]:
            server = servers[place]
            cached = server.n_cached(request) if isinstance(server, KeepsPrefixes) else 0
            return -cached, server.n_unfinished

        return min(range(len(servers)), key=rank)

    return route


ROUTINGS: Mapping[str, Callable[[], Route]] = {
    "round-robin": round_robin,
    "least-loaded": least_loaded,
    "prefix-aware": prefix_aware,
}
"""Every rule by its name."""


def find_routing(name: str) -> Route:
    """Return a rule by its name, at its beginning. Raises InputError."""
    if name not in ROUTINGS:
        raise InputError(f"wanted a routing of {', '.join(ROUTINGS)}, got {name!r}: choose one")
    return ROUTINGS[name]()
