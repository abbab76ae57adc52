"""A made-up file of operator times, in the form of Vidur's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from adadecode.profiles.catalog.models import find_model
from adadecode.sim.hardware.importers.operator_table import LAYER, SHAPE

MILLISECONDS = dict(
    zip(
        (*LAYER, "emb"),
        (0.005, 0.065, 0.005, 0.025, 0.005, 0.116, 0.007, 0.06, 0.002, 0.003),
        strict=True,
    )
)


def operator_table(
    model: str = "llama-2-7b", tokens: tuple[int, ...] = (1, 2, 4, 8)
) -> pd.DataFrame:
    """Return a table with the same times for every batch, on one and on two GPUs.

    Args:
        model: Its name in the catalogue.
        tokens: Sizes of the batches.
    """
    shape = find_model(model)
    times = {f"time_stats.{name}.median": ms for name, ms in MILLISECONDS.items()}
    sizes = {column: getattr(shape, name) for column, name in SHAPE.items()}
    return pd.DataFrame(
        [
            {**times, **sizes, "num_tokens": n, "num_tensor_parallel_workers": shards}
            for n in tokens
            for shards in (1, 2)
        ]
    )


def operator_csv(path: Path, table: pd.DataFrame | None = None) -> Path:
    """Write a table of operator times, by default `operator_table`, and return its path."""
    (operator_table() if table is None else table).to_csv(path, index=False)
    return path
