"""When the tokens of a request came out, kept as stretches of a server's clock.

All sequences of a step get their tokens at the same moment. So a server notes when each of its
steps ended, and a request which of these were its own: mostly one stretch, whatever its length.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import DTypeLike, NDArray


class TokenTimes(Sequence[float]):
    """Moments in seconds, rising. It compares equal to a tuple of the same numbers.

    Args:
        clock: When each step of a server ended.
        bounds: Places in it, rising: where a stretch begins, and the place behind its end, of one
            stretch after the other.
    """

    __slots__ = ("_bounds", "_clock")

    def __init__(self, clock: array[float], bounds: tuple[int, ...]) -> None:
        self._clock = clock
        self._bounds = bounds

    def __len__(self) -> int:
        """Return how many tokens there are."""
        return sum(self._bounds[1::2]) - sum(self._bounds[::2])

    @overload
    def __getitem__(self, place: int) -> float: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[float, ...]: ...

    def __getitem__(self, place: int | slice) -> float | tuple[float, ...]:
        """Return the moment of one token, or of several."""
        if isinstance(place, slice):
            return tuple(self)[place]
        if place == -1 and self._bounds:
            return self._clock[self._bounds[-1] - 1]
        left = place if place >= 0 else place + len(self)
        for start, stop in self._stretches():
            if 0 <= left < stop - start:
                return self._clock[start + left]
            left -= stop - start
        raise IndexError(f"wanted one of {len(self)} tokens, got number {place}")

    def __iter__(self) -> Iterator[float]:
        """Yield the moments, rising."""
        for start, stop in self._stretches():
            yield from self._clock[start:stop]

    def __array__(
        self, dtype: DTypeLike | None = None, *, copy: bool | None = None
    ) -> NDArray[np.float64]:
        """Return the moments as an array, which is always a new one."""
        del copy
        parts = [self._clock[start:stop] for start, stop in self._stretches()]
        return np.concatenate([np.zeros(0), *parts]).astype(dtype or np.float64)

    def __eq__(self, other: object) -> bool:
        """Return whether it holds the same moments as another sequence."""
        if not isinstance(other, TokenTimes | tuple):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """Return the hash of the tuple that it equals."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Return the moments as a tuple shows them."""
        return repr(tuple(self))

    def _stretches(self) -> Iterator[tuple[int, int]]:
        return iter(tuple(pairwise(self._bounds))[::2])
