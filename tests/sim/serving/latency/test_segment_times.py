"""Steps of early exits: what they take, and which of them lie beyond what was measured."""

from __future__ import annotations

import pytest

from adadecode.sim.hardware.importers.serving_rows import ServingRows
from adadecode.sim.serving.latency.segment_times import SegmentTimes, SegmentWork
from adadecode.sim.serving.scheduling.step import Chunk, StepWork


def times() -> SegmentTimes:
    """Return times up to 64 tokens, 8 rows of each kind, 4 sequences and 32 positions."""
    rows = ServingRows()
    for kind, last in (("layer", 64), ("ends", 64), ("choice", 8), ("check", 8), ("gate", 8)):
        for count in (1, last):
            rows.add(kind, 1e-3, n_tokens=count)
    for n_decode in (1, 4):
        for context in (8, 32):
            rows.add("attention", 1e-6 * n_decode * context, n_decode=n_decode, context=context)
    for chunk in (2, 64):
        for cached in (0, 32):
            rows.add("attention", 1e-6 * chunk * (cached + chunk), chunk=chunk, cached=cached)
    return SegmentTimes.of(rows.table())


@pytest.mark.parametrize(
    ("work", "beyond"),
    [
        (SegmentWork(0, 2, waiting=[Chunk(1, 32)] * 4, gates=8, checks=8, verified=8), False),
        (SegmentWork(0, 2, waiting=[Chunk(1, 8)], gates=9), True),
        (SegmentWork(0, 2, waiting=[Chunk(1, 8)], checks=9), True),
        (SegmentWork(0, 2, waiting=[Chunk(1, 8)], verified=9), True),
        (SegmentWork(0, 2, waiting=[Chunk(1, 33)]), True),
        (SegmentWork(0, 2, waiting=[Chunk(1, 20), Chunk(1, 40)]), False),  # the mean counts
        (SegmentWork(0, 2, waiting=[Chunk(1, 8)] * 5), True),
        (SegmentWork(0, 2, waiting=[Chunk(3, 30)]), False),
        (SegmentWork(0, 2, waiting=[Chunk(1, 8), Chunk(3, 40)]), True),  # as if a chunk of 3
        (SegmentWork(0, 2, prompts=StepWork(chunks=[Chunk(64, 32)])), False),
        (SegmentWork(0, 2, prompts=StepWork(chunks=[Chunk(65, 0)])), True),
        (SegmentWork(0, 2, prompts=StepWork(chunks=[Chunk(8, 33)])), True),
    ],
)
def test_steps_beyond_the_table_are_counted(work: SegmentWork, beyond: bool) -> None:
    found = times()
    found(work)
    assert (found.steps, found.beyond) == (1, int(beyond))
