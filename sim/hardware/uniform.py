"""Latencies in layers instead of seconds: every layer takes 1, a head so many layers, and batches nothing more.

What the paper's arithmetic assumes, and what an engine comes near to that waits for its host or reads weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.schema import TABLES

NOTHING = 1e-9
"""Layers that free work takes: a latency is above 0."""


def uniform_latencies(
    n_layers: int,
    depths: Sequence[int],
    *,
    head: float,
    verify: float | None = None,
    max_tokens: int,
    max_context: int,
    layer: float = 1.0,
) -> LatencyTable:
    """A table in which every layer takes ``layer`` (seconds, or 1) for 1..max_tokens tokens at any context up to max_context.

    head: one check of a head, in layers. verify: one verification, in layers; as a head by default, which reads the same LM head. Embedding,
    prefill and host take nothing. Raises LatencyError for a cost below 0 or not finite.
    """
    costs = {"layer": 1.0, "head": head, "verify": head if verify is None else verify}
    for what, cost in costs.items():
        if not 0 <= cost < math.inf:
            raise LatencyError(f"the cost of a {what} is 0 layers or more, got {cost:g}")
    if not 0 < layer < math.inf:
        raise LatencyError(f"a layer takes more than 0, got {layer:g}")
    rows = [
        ("layer", k, n, c, n_layers, 0, layer)
        for k in range(n_layers)
        for n in (1, max_tokens)
        for c in (1, max_context)
    ]
    rows += [
        ("head", depth, 1, 0, n_layers, 0, layer * max(costs["head"], NOTHING)) for depth in depths
    ]
    rows += [
        ("verify", -1, n, 0, 0, 0, layer * max(costs["verify"], NOTHING)) for n in (1, max_tokens)
    ]
    rows += [
        (kind, -1, n, 0, 0, 0, layer * NOTHING)
        for kind in ("embed", "prefill")
        for n in (1, max(max_tokens, max_context))
    ]
    rows.append(("host", -1, 1, 0, 0, 0, layer * NOTHING))
    return LatencyTable.from_samples(
        pd.DataFrame(rows, columns=TABLES["latency"].names).drop_duplicates(), n_layers
    )
