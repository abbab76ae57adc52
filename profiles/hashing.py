"""Pseudo-random numbers that depend on their arguments alone, the same on every machine.

The compiled replay runs the same functions, so that both give the same numbers.
"""

from __future__ import annotations

_MASK = 0xFFFFFFFF


def mix(state: int, item: int) -> int:
    """Return the next 32-bit state after one more item.

    The mixer is "lowbias32" of Chris Wellons' hash prospector. Products may overflow above the
    mask.
    """
    x = (state + 0x9E3779B9 + item) & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def dice(*items: int) -> int:
    """Return a number in 0..2**32 - 1 for these items, in this order."""
    state = 0
    for item in items:
        state = mix(state, item)
    return state


def pick(number: int, size: int) -> int:
    """Return an index in 0..size - 1 for a number of `dice`; size is below 2**31."""
    return (number * size) >> 32
