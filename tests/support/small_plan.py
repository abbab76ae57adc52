"""A plan of two short prompts, for recordings that take a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.sim.core.design import Design


def small_plan(designs: Sequence[Design], **settings: Any) -> RecordingPlan:
    """Return the plan of these designs on a tiny model, with more of its settings."""
    return RecordingPlan(
        prompts=(Prompt(text="a", domain="x"), Prompt(text="b", domain="y")),
        encoded=((5, 6, 7), (8, 9, 10, 11, 3)),
        designs=tuple(designs),
        contexts=(4, 21),
        walks=(4, 6),
        max_tokens=6,
        max_new_tokens=16,
        repeats=2,
        samples=1,
        floor=0.9,
        seed=0,
        settings={"model": "tiny", "heads": "identity", **settings},
    )
