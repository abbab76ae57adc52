"""Seconds of gates on a machine that timed none: an estimate, and a note that says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from adadecode.sim.hardware.cost_model import KERNELS
from adadecode.sim.hardware.device_latency import DeviceLatencies

EMBEDDINGS = KERNELS["gate"] / KERNELS["embed"]
"""Embeddings of one token that a gate takes as long as: both are all start-up, of so many kernels.

A gate reads a row of weights and the final norm, some KB.
"""


def with_gates(latencies: DeviceLatencies, depths: Iterable[int]) -> DeviceLatencies:
    """Return latencies with what gates take at depths where none was timed.

    Args:
        latencies: The latencies.
        depths: Depths of the heads.
    """
    missing = sorted(set(depths) - set(latencies.middle.gate_depths))
    if not missing:
        return latencies
    note = (
        f"gates: not measured, taken for {EMBEDDINGS:g} embeddings of one token each, which start "
        "as many kernels"
    )
    return replace(
        latencies,
        tables={
            corner: table.with_gates(dict.fromkeys(missing, EMBEDDINGS * table.embed(1)))
            for corner, table in latencies.tables.items()
        },
        notes=(*latencies.notes, note),
    )
