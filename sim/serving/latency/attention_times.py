"""What attention of one layer takes in a step: prompt chunks beside sequences that decode.

The table knows one chunk at a time, and sequences that all have as many positions. A step has any.

* Several chunks count as one that has their tokens, and as many pairs of a token and a position
  that it sees.
* Sequences of unequal lengths count as two groups with the mean, the spread and the longest of
  theirs (`adadecode.sim.serving.latency.unequal_contexts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adadecode.profiles.errors import LatencyError
from adadecode.sim.serving.latency.filled_grid import FilledGrid
from adadecode.sim.serving.scheduling.step import Chunk

SIZES = ["chunk", "cached", "n_decode", "context"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionTimes:
    """Seconds of the attention of one layer. Build it with `of`.

    Attributes:
        alone: One chunk: by its tokens, and positions before them.
        decode: Sequences that decode: by their number, and positions of each.
        mixed: One chunk beside sequences that decode, by all four; None where that was not
            measured, and counts as the sum of both.
    """

    alone: FilledGrid
    decode: FilledGrid
    mixed: FilledGrid | None

    @classmethod
    def of(cls, rows: pd.DataFrame) -> AttentionTimes:
        """Return the times of a table.

        Args:
            rows: Rows of the kind ``attention`` of the table ``serving``.

        Raises:
            LatencyError: If chunks alone, or sequences that decode alone, were not measured.
        """
        chunks, decodes = rows["chunk"] > 0, rows["n_decode"] > 0
        mixed = rows[chunks & decodes]
        parts = rows[chunks & ~decodes], rows[~chunks & decodes]
        for part, what in zip(parts, ("chunks of prompts", "sequences that decode"), strict=True):
            if part.empty:
                raise LatencyError(
                    f"wanted the attention of {what} alone in the table serving, got none: import "
                    "the profile again"
                )
        return cls(
            alone=_grid(parts[0].assign(n_decode=0, context=0)),
            decode=_grid(parts[1].assign(chunk=0, cached=0)),
            mixed=None if mixed.empty else _grid(mixed),
        )

    def at(self, chunk: float, cached: float, n_decode: float, context: float) -> float:
        """Return the seconds of a chunk beside sequences of one length; 0 of either for none."""
        if not chunk:
            return self.decode.at(0, 0, n_decode, context) if n_decode else 0.0
        if not n_decode:
            return self.alone.at(chunk, cached, 0, 0)
        if self.mixed is None:
            return self.alone.at(chunk, cached, 0, 0) + self.decode.at(0, 0, n_decode, context)
        return self.mixed.at(chunk, cached, n_decode, context)

    def decoding(self, n_decode: int, contexts: Sequence[float]) -> list[float]:
        """Return the seconds of so many sequences alone, for several positions of each."""
        return self.decode.by_context(0, 0, n_decode)(contexts)

    def reaches(self, chunk: float, cached: float, n_decode: float, context: float) -> bool:
        """Whether no size lies beyond what was measured."""
        if chunk and n_decode and self.mixed is not None:
            return self.mixed.reaches(chunk, cached, n_decode, context)
        return (not chunk or self.alone.reaches(chunk, cached, 0, 0)) and (
            not n_decode or self.decode.reaches(0, 0, n_decode, context)
        )


def one_chunk(chunks: Sequence[Chunk]) -> tuple[float, float]:
    """Return the tokens of the chunk that stands for several, and the positions before it.

    It has as many pairs of a token and a position that it sees. Where several short prompts have
    fewer pairs than one of all their tokens, it is a shorter one, with nothing before it.
    """
    if not chunks:
        return 0.0, 0.0
    if len(chunks) == 1:
        return float(chunks[0].n_tokens), float(chunks[0].cached)
    tokens = sum(one.n_tokens for one in chunks)
    pairs = sum(one.n_tokens * (one.cached + one.n_tokens / 2) for one in chunks)
    cached = pairs / tokens - tokens / 2
    return (float(tokens), cached) if cached >= 0 else ((2 * pairs) ** 0.5, 0.0)


def _grid(rows: pd.DataFrame) -> FilledGrid:
    sizes = rows[SIZES].to_numpy(dtype=np.float64)
    return FilledGrid.of(sizes, rows["seconds"].to_numpy(dtype=np.float64))
