"""Service level objectives: what a server must keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.metrics.request_times import e2e_s, gaps_s, tpot_s, ttft_s
from adadecode.sim.serving.metrics.summary import STATISTICS
from adadecode.sim.serving.request import ServedRequest
from adadecode.sim.serving.workloads.duration import parse_duration

if TYPE_CHECKING:
    from adadecode.sim.serving.metrics.load_metrics import LoadMetrics

EXAMPLE = "ttft_p99=2s,itl_p99=50ms"

_METRICS = ("ttft", "tpot", "itl", "e2e")
_FORM = re.compile(rf"({'|'.join(_METRICS)})_({'|'.join(STATISTICS)})")


@dataclass(frozen=True, kw_only=True)
class SloTarget:
    """One objective: a statistic of a time is at most so long.

    Attributes:
        metric: Name of the time in `LoadMetrics`, like ``ttft_s``.
        statistic: One of ``mean``, ``p50``, ``p90``, ``p95`` and ``p99``.
        limit_s: The limit, in seconds.
    """

    metric: str
    statistic: str
    limit_s: float

    @property
    def name(self) -> str:
        """The objective as it is typed, without its limit: ``ttft_p99``."""
        return f"{self.metric.removesuffix('_s')}_{self.statistic}"

    def reached(self, metrics: LoadMetrics) -> float | None:
        """Return the statistic of a run in seconds; None where it is not known."""
        summary = getattr(metrics, self.metric)
        return None if summary is None else float(getattr(summary, self.statistic))

    def is_kept_by(self, served: ServedRequest) -> bool:
        """Return whether one request keeps the limit by itself.

        Its TTFT, TPOT and end to end are compared with the limit, and the statistic of its own
        gaps. A request of one token keeps every TPOT and ITL, as in vLLM's goodput.

        Raises:
            InputError: If gaps are limited, and were not measured.
        """
        if self.metric == "ttft_s":
            return ttft_s(served) <= self.limit_s
        if self.metric == "e2e_s":
            return e2e_s(served) <= self.limit_s
        if self.metric == "tpot_s":
            return (tpot_s(served) or 0.0) <= self.limit_s
        gaps = gaps_s(served)
        if gaps is None:
            raise InputError(
                f"wanted the time of every token for {self.name}, got the first and the last of "
                f"request {served.request.name}: limit tpot instead"
            )
        if not len(gaps):
            return True
        found = gaps.mean() if self.statistic == "mean" else _percentile(gaps, self.statistic)
        return float(found) <= self.limit_s


@dataclass(frozen=True, kw_only=True)
class Slo:
    """Objectives that are all to be kept.

    Attributes:
        targets: The objectives, in the order in which they were given.
    """

    targets: tuple[SloTarget, ...]

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Parse objectives like ``ttft_p99=2s,itl_p99=50ms``.

        Args:
            text: Objectives between commas: a time (ttft, tpot, itl or e2e), a statistic (mean,
                p50, p90, p95 or p99), and a duration with its unit.

        Raises:
            InputError: If it has another form, or names an objective twice.
        """
        targets = []
        for part in text.split(","):
            name, _, limit = (one.strip() for one in part.partition("="))
            match = _FORM.fullmatch(name)
            if match is None or not limit:
                raise InputError(
                    f"wanted objectives like {EXAMPLE} (one of {', '.join(_METRICS)} with one of "
                    f"{', '.join(STATISTICS)}), got {part.strip()!r}"
                )
            seconds = parse_duration(name, limit)
            targets.append(SloTarget(metric=f"{match[1]}_s", statistic=match[2], limit_s=seconds))
        names = [one.name for one in targets]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"wanted {twice} once, got it twice in {text!r}: leave one out")
        return cls(targets=tuple(targets))

    def __str__(self) -> str:
        """Return the objectives as they are typed."""
        return ",".join(f"{one.name}={one.limit_s:g}s" for one in self.targets)

    def is_kept_by(self, served: ServedRequest) -> bool:
        """Return whether one request keeps all limits by itself; see `SloTarget.is_kept_by`."""
        return all(one.is_kept_by(served) for one in self.targets)

    def margins(self, metrics: LoadMetrics) -> dict[str, float]:
        """Return by objective how much of its limit a run leaves free: 1 - reached / limit.

        It is below 0 where the objective is missed.

        Raises:
            InputError: If a run does not know one of the times.
        """
        margins = {}
        for one in self.targets:
            reached = one.reached(metrics)
            if reached is None:
                raise InputError(
                    f"wanted {one.name}, got a run that does not know it: limit another time"
                )
            margins[one.name] = 1 - reached / one.limit_s
        return margins


def _percentile(gaps: np.typing.NDArray[np.float64], statistic: str) -> float:
    return float(np.percentile(gaps, int(statistic[1:])))
