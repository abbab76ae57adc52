"""Which segment a batch runs next: one rule a class.

A rule sees who waits for which segment and since when, and nothing else. So an engine and a
simulator that meet the same waiting sequences run the same segments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from adadecode.profiles.errors import DesignError, nearest
from adadecode.sim.serving.batching.block_pool import checked_count

DEFAULT_AGE_LIMIT = 8
"""Steps that a sequence waits at most for its segment under the order ``largest``."""


class Waiting(NamedTuple):
    """A sequence that waits for a segment.

    Attributes:
        segment: The segment.
        age: Steps that it has waited.
    """

    segment: int
    age: int


class SegmentOrder(Protocol):
    """Picks the segment that is run next, for everybody who waits for it."""

    def choose(self, waiting: Sequence[Waiting]) -> int:
        """Return a segment for which somebody waits.

        Args:
            waiting: Who waits, at least one.
        """


class Lockstep:
    """Pass the segments from the first to the last, and then begin again.

    Whoever exits early waits at the first segment for the next pass.
    """

    def __init__(self) -> None:
        self._latest = -1

    def choose(self, waiting: Sequence[Waiting]) -> int:
        """Return the next segment upwards, or the lowest where none is above the latest."""
        segments = {one.segment for one in waiting}
        above = [segment for segment in segments if segment > self._latest]
        self._latest = min(above or segments)
        return self._latest


class Deepest:
    """Run the deepest segment for which somebody waits, so that tokens are committed early."""

    def choose(self, waiting: Sequence[Waiting]) -> int:
        """Return the deepest segment."""
        return max(one.segment for one in waiting)


class Largest:
    """Run the segment for which most sequences wait; of equal ones the deepest.

    Args:
        age_limit: Whoever has waited for so many steps goes first, the oldest first.

    Raises:
        InputError: ``age_limit`` is no whole number from 1 on.
    """

    def __init__(self, age_limit: int = DEFAULT_AGE_LIMIT) -> None:
        self.age_limit = checked_count("age_limit", age_limit)

    def choose(self, waiting: Sequence[Waiting]) -> int:
        """Return the segment of the oldest beyond the age limit, or else of the largest batch."""
        oldest = max(waiting, key=lambda one: (one.age, one.segment))
        if oldest.age >= self.age_limit:
            return oldest.segment
        counts = Counter(one.segment for one in waiting)
        return max(counts, key=lambda segment: (counts[segment], segment))


class Worth:
    """Run the segment whose batch is worth most; of equal ones the deepest.

    Args:
        worth_of: Returns what a batch is worth, by its segment and how many sequences wait there.
        age_limit: As in `Largest`.

    Raises:
        InputError: ``age_limit`` is no whole number from 1 on.
    """

    def __init__(
        self, worth_of: Callable[[int, int], float], age_limit: int = DEFAULT_AGE_LIMIT
    ) -> None:
        self.worth_of = worth_of
        self.age_limit = checked_count("age_limit", age_limit)

    def choose(self, waiting: Sequence[Waiting]) -> int:
        """Return the segment of the oldest beyond the age limit, or else of the worthiest batch."""
        oldest = max(waiting, key=lambda one: (one.age, one.segment))
        if oldest.age >= self.age_limit:
            return oldest.segment
        counts = Counter(one.segment for one in waiting)
        return max(counts, key=lambda segment: (self.worth_of(segment, counts[segment]), segment))


ORDERS = ("lockstep", "deepest", "largest")
"""The names of the orders that need to know nothing but who waits."""


def segment_order(name: str, age_limit: int = DEFAULT_AGE_LIMIT) -> SegmentOrder:
    """Return a new order by its name.

    Args:
        name: One of `ORDERS`.
        age_limit: See `Largest`; the others wait for nobody.

    Raises:
        DesignError: There is no order of this name.
        InputError: ``age_limit`` is no whole number from 1 on.
    """
    largest = Largest(age_limit)
    orders: dict[str, SegmentOrder] = {
        "lockstep": Lockstep(),
        "deepest": Deepest(),
        "largest": largest,
    }
    if name not in orders:
        raise DesignError(f"unknown order of segments {name!r}: {nearest(str(name), ORDERS)}")
    return orders[name]
