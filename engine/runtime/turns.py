"""A lock whose threads go in the order in which they came."""

from __future__ import annotations

from collections import deque
from threading import Lock, get_ident
from types import TracebackType


class Turns:
    """Lets one thread in at a time, in the order in which they asked; it may enter again within.

    A plain lock lets the thread that has just left in again before the others wake, so one that
    takes it for each token of a long text would keep them out to its end.
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._whose: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, Lock]] = deque()

    def __enter__(self) -> None:
        """Wait for the turn of this thread."""
        me, gate = get_ident(), Lock()
        gate.acquire()
        entered = queued = False
        try:
            with self._guard:
                if self._whose in (None, me):
                    self._whose, self._depth, entered = me, self._depth + 1, True
                    return
                queued = True
                self._waiting.append((me, gate))
            gate.acquire()  # until the turn is passed on to this thread
        except BaseException:
            if entered:
                self._leave()
            elif queued:
                self._leave_queue(me, gate)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Pass the turn on to the thread that has waited longest."""
        self._leave()

    def _leave(self) -> None:
        """Leave once."""
        with self._guard:
            self._depth -= 1
            if not self._depth:
                self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to the first that waits, if one does. Use it within the guard."""
        self._whose = None
        if self._waiting:
            self._whose, gate = self._waiting.popleft()
            self._depth = 1
            gate.release()

    def _leave_queue(self, me: int, gate: Lock) -> None:
        """Stop waiting; a turn that came all the same is passed on."""
        with self._guard:
            if (me, gate) in self._waiting:
                self._waiting.remove((me, gate))
            elif self._whose == me:
                self._depth = 0
                self._pass_on()
