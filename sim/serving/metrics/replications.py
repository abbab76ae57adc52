"""The same load with several seeds: means and their confidence intervals.

A figure of one run is one draw. Over runs with different seeds its mean has an interval by
Student's t. Two deployments are compared on the same seeds, so that both see the same requests at
the same times (common random numbers): the interval of the difference is then much narrower than
the two intervals let expect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics
from adadecode.sim.serving.metrics.request_times import TIMES
from adadecode.sim.serving.metrics.summary import STATISTICS
from adadecode.sim.serving.metrics.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
"""Share of the intervals that hold the true mean."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds, and its confidence interval.

    Attributes:
        mean: The mean.
        low: Lower end; minus infinity of a single run, which does not tell.
        high: Upper end; infinity of a single run.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], level: float = LEVEL) -> Interval:
        """Return the mean of some values, one a seed, with its interval by Student's t.

        Args:
            values: The values, one or more.
            level: Share of the intervals that hold the true mean.

        Raises:
            InputError: If there is none.
        """
        if not values:
            raise InputError("wanted a value of every seed, got none: run one seed or more")
        found = np.asarray(values, dtype=np.float64)
        mean = float(found.mean())
        if len(found) == 1:
            return cls(mean=mean, low=-math.inf, high=math.inf)
        from scipy.stats import t

        quantile = float(t.ppf((1 + level) / 2, len(found) - 1))
        half = quantile * float(found.std(ddof=1)) / math.sqrt(len(found))
        return cls(mean=mean, low=mean - half, high=mean + half)


@dataclass(frozen=True, kw_only=True, eq=False)
class Replications:
    """The runs of one load with several seeds.

    Attributes:
        runs: A run for each seed, in the order of the seeds.
    """

    runs: tuple[LoadMetrics, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all runs."""
        order = list(Verdict)
        return max((one.judgement.verdict for one in self.runs), key=order.index)

    def interval(self, metric: str, statistic: str) -> Interval | None:
        """Return the mean of a statistic over the seeds; None where a run does not know it.

        Args:
            metric: A time of `LoadMetrics`, like ``ttft_s``, or ``throughput``.
            statistic: Like ``p99``; of the throughput like ``requests_per_s``.
        """
        parts = [getattr(one, metric) for one in self.runs]
        if any(one is None for one in parts):
            return None
        return Interval.of([float(getattr(one, statistic)) for one in parts])

    def to_json(self) -> dict[str, Any]:
        """Return the means over the seeds under the keys of one run, and their intervals.

        The intervals stand under ``intervals``, as lower and upper end; they are missing of a
        single run.
        """
        if len(self.runs) == 1:
            return self.runs[0].to_json()
        document: dict[str, Any] = {"seeds": len(self.runs), "verdict": str(self.verdict)}
        document["verdicts"] = [str(one.judgement.verdict) for one in self.runs]
        ends: dict[str, Any] = {}
        for metric, statistics in self._figures():
            found = {one: self.interval(metric, one) for one in statistics}
            known = {name: one for name, one in found.items() if one is not None}
            document[metric] = {name: one.mean for name, one in known.items()} or None
            ends[metric] = {name: [one.low, one.high] for name, one in known.items()} or None
        return {**document, "intervals": ends, "runs": [one.to_json() for one in self.runs]}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per figure: ``metric``, ``statistic``, ``mean``, ``low`` and ``high``.

        The ends of a single run are infinite.
        """
        import pandas as pd

        rows = [
            {"metric": metric, "statistic": name, **asdict(one)}
            for metric, statistics in self._figures()
            for name in statistics
            if (one := self.interval(metric, name)) is not None
        ]
        return pd.DataFrame(rows)

    def _figures(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the statistics of every time, and of the throughput."""
        rates = tuple(asdict(self.runs[0].throughput))
        return [*((name, STATISTICS) for name in TIMES), ("throughput", rates)]


def difference(
    ours: Sequence[LoadMetrics], theirs: Sequence[LoadMetrics], metric: str, statistic: str
) -> Interval:
    """Return the mean difference of two deployments, ours - theirs, seed by seed.

    Args:
        ours: A run for each seed.
        theirs: A run for each of the same seeds.
        metric: A time of `LoadMetrics`, like ``ttft_s``, or ``throughput``.
        statistic: Like ``p99``.

    Raises:
        InputError: If the numbers of runs differ, or a run does not know the figure.
    """
    if len(ours) != len(theirs):
        raise InputError(
            f"wanted runs with the same seeds, got {len(ours)} and {len(theirs)} runs: run the "
            "missing ones"
        )
    pairs = [
        (getattr(one, metric), getattr(other, metric))
        for one, other in zip(ours, theirs, strict=True)
    ]
    if any(one is None or other is None for one, other in pairs):
        raise InputError(f"wanted {metric} of every run, got one that does not know it")
    return Interval.of(
        [getattr(one, statistic) - getattr(other, statistic) for one, other in pairs]
    )
