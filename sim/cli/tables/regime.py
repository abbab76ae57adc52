"""The launch regime of some latencies, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adadecode.sim.hardware.launch_regime import told_limits


def regime_lines(regime: str | None, limits: Mapping[str, str]) -> Iterator[str]:
    """Yield a line on the regime that rules, where a host and a device are to be told apart.

    Args:
        regime: How kernels are started; None where nobody knows.
        limits: ``host`` or ``device`` by kind of work; empty on a CPU, which is both.
    """
    if regime is not None and limits:
        yield f"launch regime {regime}: {told_limits(limits)}"
