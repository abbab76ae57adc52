"""Which of several alike servers a request goes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Protocol

from adadecode.profiles.errors import InputError


class Loaded(Protocol):
    """A server, as a rule sees it."""

    @property
    def n_unfinished(self) -> int:
        """Requests that are queued or run."""


Route = Callable[[Sequence[Loaded]], int]
"""Returns the place of the server that the next request goes to."""


def round_robin() -> Route:
    """Return a rule that takes one server after the other."""
    turn = count()
    return lambda servers: next(turn) % len(servers)


def least_loaded() -> Route:
    """Return a rule that takes the server with the fewest requests, the first of several."""
    return lambda servers: min(range(len(servers)), key=lambda one: servers[one].n_unfinished)


ROUTINGS: Mapping[str, Callable[[], Route]] = {
    "round-robin": round_robin,
    "least-loaded": least_loaded,
}
"""Every rule by its name."""


def find_routing(name: str) -> Route:
    """Return a rule by its name, at its beginning. Raises InputError."""
    if name not in ROUTINGS:
        raise InputError(f"wanted a routing of {', '.join(ROUTINGS)}, got {name!r}: choose one")
    return ROUTINGS[name]()
