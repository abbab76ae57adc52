"""A simulated run beside a measured one."""

from __future__ import annotations

from dataclasses import asdict

from adadecode.sim.serving.metrics.load_metrics import LoadMetrics
from adadecode.sim.serving.metrics.request_times import TIMES
from adadecode.sim.serving.metrics.summary import STATISTICS


def errors(simulated: LoadMetrics, measured: LoadMetrics) -> dict[str, dict[str, float]]:
    """Return by how much a simulation misses a measurement, relative to what was measured.

    Args:
        simulated: The simulated run.
        measured: The measured run.

    Returns:
        Signed errors (simulated / measured - 1) by time (``ttft_s``, ``tpot_s``, ``itl_s``,
        ``e2e_s``) and statistic, and of the ``throughput``. What one of them does not know, or
        where 0 was measured, is left out.
    """
    found: dict[str, dict[str, float]] = {}
    for name in TIMES:
        ours, theirs = getattr(simulated, name), getattr(measured, name)
        if ours is not None and theirs is not None:
            pairs = {one: (getattr(ours, one), getattr(theirs, one)) for one in STATISTICS}
            found[name] = _relative(pairs)
    rates, real = asdict(simulated.throughput), asdict(measured.throughput)
    found["throughput"] = _relative({name: (rates[name], real[name]) for name in rates})
    return found


def _relative(pairs: dict[str, tuple[float, float]]) -> dict[str, float]:
    return {name: ours / theirs - 1 for name, (ours, theirs) in pairs.items() if theirs > 0}
