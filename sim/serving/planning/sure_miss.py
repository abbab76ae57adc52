"""When a run that is still going on cannot meet an objective any more.

A percentile is above its limit for sure once so many values are that the values which are still to
come could not bring it down, were they all 0; a mean is, once the sum of what is known is too large
for all values together. So nothing is guessed: a run that is told here misses at its end as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.serving.metrics.request_times import e2e_s, gaps_s, tpot_s, ttft_s
from adadecode.sim.serving.metrics.slo import Slo, SloTarget
from adadecode.sim.serving.request import Request, ServedRequest

_ROUNDING = 1e-9
"""Relative error that sums and places of percentiles may have; a miss by less is not told."""


class SureMiss:
    """Looks at each request that ended, and tells when an objective cannot be met any more.

    Args:
        slo: The objectives.
        requests: All requests of the run, which arrive at their times.
        warmup_s: Requests that arrive within so many seconds do not count.

    Attributes:
        objective: The name of the objective that is missed for sure; None where there is none.
    """

    def __init__(self, slo: Slo, requests: Sequence[Request], warmup_s: float = 0.0) -> None:
        self._start = requests[0].arrival_s + warmup_s
        counted = [one for one in requests if one.arrival_s >= self._start]
        self._watched = [_Watched(one, counted) for one in slo.targets]
        self.objective: str | None = None

    def __call__(self, served: ServedRequest) -> bool:
        """Take a request that ended; return whether an objective is missed for sure."""
        if served.request.arrival_s >= self._start:
            for one in self._watched:
                if one.take(served):
                    self.objective = one.name
                    return True
        return False


class _Watched:
    """One objective: how many values there will be, and what they came to so far."""

    def __init__(self, target: SloTarget, counted: Sequence[Request]) -> None:
        self.name = target.name
        self._limit = target.limit_s
        self._values, how_many = _TIMES[target.metric]
        self._count = sum(how_many(one) for one in counted)
        self._sum, self._above = 0.0, 0
        self._most: float = math.inf
        if target.statistic != "mean" and self._count:
            share = int(target.statistic[1:]) / 100
            # The percentile is not below the value at this place of all in order.
            place = math.floor((self._count - 1) * share * (1 - _ROUNDING))
            self._most = self._count - place - 1
        self._largest = math.inf if target.statistic != "mean" else self._limit * self._count

    def take(self, served: ServedRequest) -> bool:
        """Take a request, and return whether the objective is missed for sure."""
        values = self._values(served)
        self._sum += float(values.sum())
        self._above += int((values > self._limit * (1 + _ROUNDING)).sum())
        return self._above > self._most or self._sum > self._largest * (1 + _ROUNDING)


def _one(value: float | None) -> NDArray[np.float64]:
    return np.array([] if value is None else [value])


def _gaps(served: ServedRequest) -> NDArray[np.float64]:
    gaps = gaps_s(served)
    return _one(None) if gaps is None else gaps


_TIMES: dict[
    str, tuple[Callable[[ServedRequest], NDArray[np.float64]], Callable[[Request], int]]
] = {
    "ttft_s": (lambda served: _one(ttft_s(served)), lambda _: 1),
    "tpot_s": (lambda served: _one(tpot_s(served)), lambda one: one.n_output > 1),
    "itl_s": (_gaps, lambda one: one.n_output - 1),
    "e2e_s": (lambda served: _one(e2e_s(served)), lambda _: 1),
}
"""Of each time: the values of a request, and how many it has at most."""
