"""What a gate takes that was not timed: one price for whoever asks, and a note that says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from adadecode.profiles.latency import LatencyTable
from adadecode.sim.hardware.device_latency import DeviceLatencies

EMBEDDINGS = 1.1
"""Embeddings of one token that a gate takes as long as: both are all start-up.

It was 1.06 where both were timed: the demo model on one busy core, eagerly, 0.111 ms and 0.105 ms.
By kernels it may be up to 3.
"""


def gate_seconds(table: LatencyTable, depth: int) -> float:
    """Return what one question to a gate takes, as timed or as the nearest one that was timed.

    Where none was timed, it is taken for some embeddings.

    Args:
        table: The latencies.
        depth: Depth of the head.

    Raises:
        LatencyError: If no embedding was timed either.
    """
    if not table.gate_depths:
        return EMBEDDINGS * table.embed(1)
    return table.gate(min(table.gate_depths, key=lambda other: abs(other - depth)))


def gate_note(table: LatencyTable, depths: Sequence[int]) -> str | None:
    """Return a note on gates that were not timed; None where all of them were."""
    missing = sorted(set(depths) - set(table.gate_depths))
    if not missing:
        return None
    if not table.gate_depths:
        return (
            f"gates: not measured, each is taken for {EMBEDDINGS:g} embeddings of one token, as "
            "where both were timed"
        )
    where = ", ".join(map(str, missing))
    return f"gates: not measured at {where}, the nearest measured one stands for each"


def with_gates(latencies: DeviceLatencies, depths: Iterable[int]) -> DeviceLatencies:
    """Return latencies with what gates take at depths where none was timed.

    Args:
        latencies: The latencies.
        depths: Depths of the heads.
    """
    missing = sorted(set(depths) - set(latencies.middle.gate_depths))
    note = gate_note(latencies.middle, missing)
    if note is None:
        return latencies
    return replace(
        latencies,
        tables={
            corner: table.with_gates({depth: gate_seconds(table, depth) for depth in missing})
            for corner, table in latencies.tables.items()
        },
        notes=(*latencies.notes, note),
    )
