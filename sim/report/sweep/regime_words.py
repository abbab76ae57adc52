"""How a report on a sweep words launch regimes, and what limits work in them."""

from __future__ import annotations

from collections.abc import Mapping

from adadecode.sim.core.number_format import UNKNOWN

REGIMES = {
    "eager": "the host starts kernel by kernel, and work takes as long as the slower of the two",
    "graphs": "the kernels of a framework, started together, without the host",
    "engine": "the fewer, fused kernels of a production engine, without the host",
}
"""Launch regimes, in words."""

LIMITS = "the host that starts it or the device that runs it"
"""What can limit work."""


def limit_words(limits: Mapping[str, str]) -> str:
    """Return what limits the work of a device: ``device``, ``host``, or the work of the host alone.

    Args:
        limits: ``host`` or ``device`` by kind of work; empty where nobody knows, and on a CPU.
    """
    decoding = {kind: limit for kind, limit in limits.items() if kind != "prefill"}
    if not decoding:
        return UNKNOWN
    if len(set(decoding.values())) == 1:
        return next(iter(decoding.values()))
    hosted = [kind for kind, limit in decoding.items() if limit == "host"]
    return f"host: {', '.join(hosted)}"
