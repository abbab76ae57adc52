"""How fast a token could be if all its time went into reading the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.gpu_run.state import GpuRun, read_result

if TYPE_CHECKING:
    from adadecode.profiles.catalog.model_shape import ModelShape


def bytes_per_token(shape: ModelShape, parameters: int, itemsize: int) -> int:
    """Return the bytes of weights that a token reads.

    That is all of them, except an embedding table of its own, of which it reads one row.
    """
    table = 0 if shape.tied_embeddings else shape.vocab_size * shape.hidden_size
    return (parameters - table) * itemsize


def read_bandwidth(run: GpuRun) -> float | None:
    """Return the bytes per second that the stage ``device`` read; None where it did not run."""
    rates = (read_result(run.work, "device").get("result") or {}).get("rates", [])
    return next((float(rate["median"]) for rate in rates if rate["name"] == "read"), None)
