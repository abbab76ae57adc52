"""One request while it is served: how far it is computed, and the blocks that it holds."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator
from itertools import count

from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.token_times import TokenTimes

_NEVER = -1.0


class Sequence:
    """The state of a request.

    Args:
        request: The request.
        number: What tells it from the others on its server.

    Attributes:
        known: Tokens of its text so far: the prompt, and what has come out.
        pending: Tokens that steps on their way will give.
        computed: Positions whose keys and values are there, or will be when those steps are done.
        blocks: The blocks that it holds, in order.
        room: Positions that they hold.
        remembered: How many of them are noted with their content.
        noted: Positions whose content is to be found again once it loses its blocks.
        shares: Whether a block of its prompt that others know is still to be noted.
        starts: Where stretches of tokens begin on the clock of its server, and where all but the
            last one end.
        stop: Where the last one ends.
        scheduled_s: When it was scheduled first; below 0 before that.
        preemptions: How often it lost its blocks.
        running: Whether it is among those that run.
    """

    __slots__ = (
        "blocks", "computed", "known", "last", "noted", "number", "pending", "preemptions",
        "remembered", "request", "room", "running", "scheduled_s", "shares", "starts", "stop",
    )  # fmt: skip

    def __init__(self, request: Request, number: int) -> None:
        self.request = request
        self.number = number
        self.known = request.n_prompt
        self.last = request.n_prompt + request.n_output
        self.pending = 0
        self.computed = 0
        self.blocks: list[int] = []
        self.room = 0
        self.remembered = 0
        self.noted = 0
        self.shares = bool(request.blocks)
        self.starts: list[int] = []
        self.stop = -1
        self.scheduled_s = _NEVER
        self.preemptions = 0
        self.running = False

    def begin_stretch(self, place: int) -> None:
        """Note that its next tokens come from this place of the clock on."""
        if self.starts:
            self.starts.append(self.stop)
        self.starts.append(place)

    def contents(self) -> Iterator[Hashable]:
        """Yield what its blocks hold, in order: shared ids of the prompt, then its own."""
        shared = self.request.blocks
        yield from shared
        for place in count(len(shared)):
            yield self.number, place

    def content(self, place: int) -> Hashable:
        """Return what one of its blocks holds."""
        shared = self.request.blocks
        return shared[place] if place < len(shared) else (self.number, place)

    def served(self, clock: array[float]) -> ServedRequest:
        """Return the request with its times.

        Args:
            clock: When each step of its server ended.
        """
        return ServedRequest(
            request=self.request,
            scheduled_s=self.scheduled_s,
            token_s=TokenTimes(clock, (*self.starts, self.stop)),
            preemptions=self.preemptions,
        )
