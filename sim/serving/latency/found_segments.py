"""What steps of early exits take, from what was found of a server's steps."""

from __future__ import annotations

import pandas as pd

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import ShapeError
from adadecode.sim.hardware.importers.serving_rows import ServingRows
from adadecode.sim.serving.latency.found_steps import FoundSteps
from adadecode.sim.serving.latency.segment_times import SegmentTimes
from adadecode.sim.serving.latency.step_times import median_lines


def find_segments(steps: FoundSteps) -> tuple[SegmentTimes, tuple[str, ...]]:
    """Return what steps of early exits take, and what was assumed, a sentence each.

    Args:
        steps: What a server's steps take.

    Raises:
        ShapeError: If heads were not timed, and nobody knows the model.
        LatencyError: If the table lacks a piece of a step.
    """
    table, notes = _with_questions(steps.table, steps.shape)
    return SegmentTimes.of(table, unequal_contexts=steps.unequal_contexts), notes


def _with_questions(
    table: pd.DataFrame, shape: ModelShape | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table with checks and gates, and what was assumed of them.

    A check is the LM head as the last layer has it, behind a matrix that takes the share of a
    layer that its parameters have. A gate takes as long as embedding and final norm.
    """
    kinds, lines = set(table["kind"]), median_lines(table)
    rows, notes = ServingRows(), []
    if "check" not in kinds:
        if shape is None:
            raise ShapeError(
                "heads were not timed here, and are estimated from the model's shape, which nobody "
                "knows: name the model with --model"
            )
        layers = sum(count * layer.multiplied for layer, count in shape.kinds.items())
        share = shape.head_parameters * shape.n_layers / layers
        for count in lines["choice"].marks:
            seconds = lines["choice"].at(count) + share * lines["layer"].at(count)
            rows.add("check", seconds, n_tokens=count)
        notes.append(
            "a check of a head was not measured: it takes the LM head and sampler, and "
            f"{share:.1%} of a layer for its own matrix"
        )
    if "gate" not in kinds:
        for count in lines["ends"].marks:
            rows.add("gate", lines["ends"].at(count), n_tokens=count)
    return pd.concat([table, rows.table()], ignore_index=True), tuple(notes)
