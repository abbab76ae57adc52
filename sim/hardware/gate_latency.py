"""Seconds of gates on a machine that timed none: an estimate, and a note that says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from adadecode.sim.hardware.device_latency import DeviceLatencies

EMBEDDINGS = 1.1
"""Embeddings of one token that a gate takes as long as: both are all start-up.

It was 1.06 where both were timed: the demo model on one busy core, eagerly, 0.111 ms and 0.105 ms.
By kernels it may be up to 3.
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
        f"gates: not measured, each is taken for {EMBEDDINGS:g} embeddings of one token, as where "
        "both were timed"
    )
    return replace(
        latencies,
        tables={
            corner: table.with_gates(dict.fromkeys(missing, EMBEDDINGS * table.embed(1)))
            for corner, table in latencies.tables.items()
        },
        notes=(*latencies.notes, note),
    )
