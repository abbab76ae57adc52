"""Latencies in layers instead of seconds.

Every layer takes 1, a head a number of layers, and a batch no more than one token. The arithmetic
of the paper assumes this, and an engine that waits for its host or reads weights comes near to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.schema import TABLES

NOTHING = 1e-9
"""Layers that free work takes, because a latency is above 0."""


def uniform_latencies(
    n_layers: int,
    depths: Sequence[int],
    *,
    head: float,
    verify: float | None = None,
    gate: float = 0.0,
    max_tokens: int,
    max_context: int,
    layer: float = 1.0,
) -> LatencyTable:
    """Return a table in which every layer takes the same time, for any batch and context.

    Embedding, prefill and host take nothing.

    Args:
        n_layers: L, the layers of the model.
        depths: Depths of the heads.
        head: One check of a head, in layers.
        verify: One verification, in layers; by default that of a head, which reads the same LM
            head.
        gate: One question to a gate, in layers.
        max_tokens: Largest batch.
        max_context: Longest context.
        layer: Time of one layer: seconds, or 1.

    Raises:
        LatencyError: If a cost is below 0 or not finite.
    """
    costs = {
        "layer": 1.0,
        "head": head,
        "gate": gate,
        "verify": head if verify is None else verify,
    }
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
        (kind, depth, 1, 0, n_layers, 0, layer * max(costs[kind], NOTHING))
        for kind in ("head", "gate")
        for depth in depths
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
