"""Compile a function with numba, and keep what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled on its first call, without holding Python's lock.

    The result is kept with the source; where that is read-only, as in an installed package, in
    the user's cache folder; and where there is none, or no room, for this process alone.
    """
    try:
        kept: Any = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no place to keep it
        kept = njit(nogil=True)(function)
    cache = kept._cache  # noqa: SLF001  numba has no other way to go on without room
    save = cache.save_overload

    def save_if_there_is_room(*arguments: Any) -> None:  # noqa: ANN401  numba's own
        with suppress(OSError):
            save(*arguments)

    cache.save_overload = save_if_there_is_room
    result: Callable[..., Any] = kept
    return result
