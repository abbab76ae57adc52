"""Loads beside simulations that miss them by as much as a test says."""

from __future__ import annotations

from adadecode.sim.serving.load_validation.held import HeldLoad
from adadecode.sim.serving.load_validation.replay import ReplayedLoad
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics, measure
from adadecode.sim.serving.request import Request, ServedRequest
from tests.support.toy_loads import toy_load, toy_pattern


def held_load(
    *,
    simulated: tuple[float, ...],
    measured: tuple[float, ...],
    time_error: float | None = 0.0,
    why: str = "",
) -> HeldLoad:
    """Return a load whose times are so many times those of one run, in each of its runs.

    Args:
        simulated: How many times as long they are in each simulated run.
        measured: The same of each measured one.
        time_error: Of the replay of each run.
        why: What differs first in each replay.
    """
    run = toy_load(toy_pattern())
    steps = len(run.steps)
    replay = ReplayedLoad(steps=steps, exact=0 if why else steps, why=why, time_error=time_error)
    return HeldLoad(
        run=run,
        replays=(replay,) * len(measured),
        measured=tuple(map(_metrics, measured)),
        simulated=tuple(map(_metrics, simulated)),
    )


def _metrics(times: float) -> LoadMetrics:
    """Return the figures of requests that wait 0.1 s, and then 0.2 s for each of two tokens."""
    return measure(
        [
            ServedRequest(
                request=Request(name=str(number), arrival_s=10.0 * number, n_prompt=4, n_output=3),
                scheduled_s=10.0 * number,
                token_s=tuple(10.0 * number + times * one for one in (0.1, 0.3, 0.5)),
            )
            for number in range(4)
        ]
    )
