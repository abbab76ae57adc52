"""Compile a function with numba, and keep what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled on its first call, without holding Python's lock.

    The result is kept with the source; where that is read-only, as in an installed package, in
    the user's cache folder; and where there is none, for this process alone.
    """
    try:
        kept: Callable[..., Any] = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no place to keep it
        kept = njit(nogil=True)(function)
    return kept
