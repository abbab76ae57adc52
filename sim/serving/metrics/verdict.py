"""Does a server keep up with its load?

The number of requests in the system, seen by each one that arrives, tells. A stretch of arrivals
is *falling behind* where three things hold:

- that number rises by more than chance adds. A queue that is just kept up with (as much work comes
  as can be done) wanders: after n arrivals it is off by about the square root of 2 n, as the number
  of arrivals and the number of answers each vary by the square root of n where gaps and work are
  exponential. More than `CHANCE` times that counts.
- it rises by more than `SHARE` of the arrivals;
- requests take longer: those of the last third of the stretch, on average, more than `LONGER`
  times those of the first third. A server that is filled up from empty has ever more requests in it
  as well, but none of them takes longer.

==========  =======================================================================================
overloaded  The last half of the arrivals is falling behind: with more of this load, requests wait
            ever longer. (Where they all came at one moment, there is no rate to keep up with.)
backlogged  It is not, but a fifth of the arrivals was, for a time; or requests wait longer until
            the server begins with them than it then works on them, on average.
stable      Neither.
==========  =======================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.serving.request import Request, ServedRequest

CHANCE = 2.5
"""Times the spread that chance gives a queue."""

SHARE = 0.05
"""Share of the arrivals that is left behind."""

LONGER = 1.1
"""Times as long as earlier requests took."""

FEWEST = 20
"""Arrivals of the shortest stretch that is judged."""

_Array = NDArray[np.float64]


class Verdict(StrEnum):
    """Whether a server keeps up."""

    STABLE = "stable"
    BACKLOGGED = "backlogged"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, and why.

    Attributes:
        verdict: Whether the server keeps up.
        reason: A sentence.
    """

    verdict: Verdict
    reason: str


def judge(served: Sequence[ServedRequest], unfinished: Sequence[Request] = ()) -> Judgement:
    """Return whether a server keeps up, by the rule of this module.

    Args:
        served: The requests that were answered.
        unfinished: Requests that arrived, and were not answered when the run was stopped.
    """
    arrived = [one.request.arrival_s for one in served] + [one.arrival_s for one in unfinished]
    ended = [one.token_s[-1] for one in served] + [math.inf] * len(unfinished)
    order = np.argsort(np.array(arrived), kind="stable")
    arrivals, ends = np.array(arrived)[order], np.array(ended)[order]
    present = np.arange(1, len(arrivals) + 1) - np.searchsorted(
        np.sort(ends), arrivals, side="right"
    )
    middle = len(arrivals) // 2
    half = _behind(arrivals, ends, present, middle, len(arrivals))
    # What arrives at one moment has no rate: it is a backlog.
    if half is not None and arrivals[-1] > arrivals[middle]:
        return Judgement(
            verdict=Verdict.OVERLOADED,
            reason=f"of the last {len(arrivals) - middle:,} requests to arrive, "
            f"the server fell behind by {half:.0%} while they came, and they take ever longer",
        )
    cuts = np.linspace(0, len(arrivals), 6).astype(int).tolist()
    for start, end in pairwise(cuts):
        if _behind(arrivals, ends, present, start, end) is not None:
            return Judgement(
                verdict=Verdict.BACKLOGGED,
                reason=f"requests piled up between {arrivals[start]:.3g} s and "
                f"{arrivals[end - 1]:.3g} s, and were worked off later",
            )
    waits = np.array([one.scheduled_s - one.request.arrival_s for one in served])
    works = np.array([one.token_s[-1] - one.scheduled_s for one in served])
    if waits.size and waits.mean() > works.mean():
        return Judgement(
            verdict=Verdict.BACKLOGGED,
            reason=f"requests wait {waits.mean():.3g} s until the server begins with them, longer "
            f"than the {works.mean():.3g} s that it then takes",
        )
    return Judgement(
        verdict=Verdict.STABLE, reason="requests are answered about as fast as they arrive"
    )


def _behind(
    arrivals: _Array, ends: _Array, present: NDArray[np.int64], start: int, end: int
) -> float | None:
    """Return by which share of a stretch's arrivals the server falls behind; None if it does not.

    Args:
        arrivals: When requests arrive, in seconds, rising.
        ends: When they are answered; infinite where they are not.
        present: How many are in the system when each arrives, itself included.
        start: Where the stretch begins.
        end: Behind its end.
    """
    count = end - start
    if count < FEWEST:
        return None
    seen = present[start:end].astype(np.float64)
    # By number of arrivals, not by time: arrivals that come at once have no time between them.
    steps = np.arange(count) - (count - 1) / 2
    rise = float(steps @ seen / (steps @ steps)) * count
    if rise <= max(CHANCE * math.sqrt(2 * count), SHARE * count):
        return None
    takes = (ends - arrivals)[start:end]
    third = count // 3
    later = float(takes[-third:].mean())
    if math.isfinite(later) and later <= LONGER * takes[:third].mean():
        return None
    return rise / count
