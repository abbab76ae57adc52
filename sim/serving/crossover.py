"""From which load on early exits stop paying: vanilla and a policy under the same requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.exits.exit_policy import ExitPolicy
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics

ServeAt = Callable[[float, ExitPolicy | None], LoadMetrics]
"""Returns the figures of a load under a policy, None for vanilla: the same requests for both."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadGain:
    """Vanilla and early exits under one load.

    Attributes:
        load: The load: requests a second, or requests in flight.
        vanilla: The figures of vanilla.
        exits: The figures of early exits.
    """

    load: float
    vanilla: LoadMetrics
    exits: LoadMetrics

    @property
    def gain(self) -> float:
        """How many times as long requests take under vanilla, end to end, on average."""
        return self.vanilla.e2e_s.mean / self.exits.e2e_s.mean


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossover:
    """Vanilla and early exits under several loads.

    Attributes:
        points: Both under each load, rising.
    """

    points: tuple[LoadGain, ...]

    @property
    def at(self) -> float | None:
        """The first load from which on early exits do not pay.

        Where they stop paying several times, it is the last. It lies on a straight line between two
        loads, over the logarithm of the load. It is the smallest load where they never pay, and
        None where they pay at the largest one.
        """
        points = self.points
        if points[-1].gain > 1:
            return None
        for low, high in reversed(tuple(pairwise(points))):
            if high.gain <= 1 < low.gain:
                share = (low.gain - 1) / (low.gain - high.gain)
                return low.load * math.exp(share * math.log(high.load / low.load))
        return points[0].load

    def to_json(self) -> dict[str, Any]:
        """Return the crossover with its loads."""
        return {
            "at": self.at,
            "loads": [
                {
                    "load": one.load,
                    "gain": one.gain,
                    "vanilla_e2e_s": one.vanilla.e2e_s.mean,
                    "exits_e2e_s": one.exits.e2e_s.mean,
                }
                for one in self.points
            ],
        }


def find_crossover(loads: Sequence[float], serve_at: ServeAt, exits: ExitPolicy) -> Crossover:
    """Serve several loads by vanilla and by early exits.

    Args:
        loads: Rising loads above 0, one or more.
        serve_at: Serves one of them.
        exits: How servers with early exits decode.

    Raises:
        InputError: If the loads are no numbers that rise from above 0.
    """
    if not loads or not all(low < high < math.inf for low, high in pairwise((0.0, *loads))):
        raise InputError(f"wanted rising loads above 0, one or more, got {list(loads)}")
    return Crossover(
        points=tuple(
            LoadGain(load=load, vanilla=serve_at(load, None), exits=serve_at(load, exits))
            for load in loads
        )
    )
