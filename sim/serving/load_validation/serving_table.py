"""Steps that were timed in pieces, as the table ``serving`` that other simulations price steps by.

It knows neither segments nor which sequences attend together: a layer takes what it takes in the
mean of all segments, and sequences of unequal lengths count as of their mean length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from adadecode.profiles.schema import ALL_TABLES
from adadecode.sim.serving.latency.attention_times import one_chunk
from adadecode.sim.serving.load_validation.batch_times import middle_mean, parts_of
from adadecode.sim.serving.scheduling.step import StepWork

_SIZES = ("n_tokens", "chunk", "cached", "n_decode", "context", "n_long", "long_context")

_LENGTH = 32
"""Positions between two marks of cached positions and contexts."""

_ASKED = {"checks": "check", "gates": "gate", "verified": "choice"}


def serving_of_pieces(
    pieces: pd.DataFrame, boundaries: Mapping[int, Sequence[int]]
) -> pd.DataFrame:
    """Return the table ``serving`` of steps that were timed in pieces.

    Args:
        pieces: The table ``load_pieces``.
        boundaries: The boundaries of the segments, by the number of a run.
    """
    samples: dict[tuple[str, tuple[int, ...]], list[float]] = defaultdict(list)

    def add(kind: str, seconds: float, **sizes: int) -> None:
        if seconds > 0:
            samples[kind, tuple(sizes.get(name, 0) for name in _SIZES)].append(seconds)

    for row in pieces.to_dict("records"):
        bounds, segment = boundaries[row["run"]], row["segment"]
        n_layers = bounds[segment + 1] - bounds[segment]
        parts = parts_of(row)
        tokens = _mark(sum(part.rows for part in parts))
        add("layer", row["layers_s"] / n_layers, n_tokens=tokens)
        add("ends", row["embed_s"], n_tokens=tokens)
        add("host", row["host_s"], n_tokens=len(parts))
        for column, kind in _ASKED.items():
            if row[column]:
                add(kind, row[f"{column}_s"], n_tokens=_mark(row[column]))
        work = StepWork()
        for part in parts:
            work.add(part.rows, part.stop - part.rows)
        deferred = any(part.rows > 1 and part.stop > part.n_prompt for part in parts)
        if deferred and len(parts) > 1:
            continue  # several sequences of several tokens have no row of their own
        chunk, cached = one_chunk(work.chunks)
        mean = sum(work.contexts) / len(work.contexts) if work.contexts else 0.0
        add(
            "attention",
            row["attention_s"] / n_layers,
            chunk=_mark(chunk),
            cached=_length(cached),
            n_decode=_mark(len(work.contexts)),
            context=_length(mean),
        )
    times = [middle_mean(np.array(found)) for found in samples.values()]
    sizes = np.array([found for _, found in samples])
    return pd.DataFrame(
        {
            "kind": [kind for kind, _ in samples],
            **{name: sizes[:, place] for place, name in enumerate(_SIZES)},
            **dict.fromkeys(("seconds", "equal_seconds", "longest_seconds"), times),
        },
        columns=ALL_TABLES["serving"].names,
    )


def _mark(count: float) -> int:
    """Return a number to two significant bits, so that grids have sizes in common."""
    if count < 4:
        return round(count)
    step = 2 ** (int(np.log2(count)) - 1)
    return int(step * round(count / step))


def _length(positions: float) -> int:
    return _LENGTH * round(positions / _LENGTH)
