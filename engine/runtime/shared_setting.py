"""Settings of the whole process that several threads need at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class SharedSetting:
    """A setting that is made for the first thread that needs it and undone after the last one.

    Two threads that each saved and restored it by themselves could leave it changed for good.

    Args:
        make: Makes the setting, and undoes it afterwards.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._users = 0
        self._made: AbstractContextManager[object] | None = None

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Keep the setting as long as the block runs."""
        using = False
        try:
            with self._lock:
                if self._made is None:
                    made = self._make()
                    made.__enter__()
                    self._made = made
                self._users += 1
                using = True
            yield
        finally:
            if using:
                self._leave()

    def _leave(self) -> None:
        """Undo the setting where nobody else needs it."""
        with self._lock:
            self._users -= 1
            made = self._made
            if made is not None and not self._users:
                self._made = None
                made.__exit__(None, None, None)
