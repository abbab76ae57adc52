"""Pieces of a server's step where none was measured: from a datasheet, or from a decode loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable
from adadecode.sim.hardware.cost_model import Cost, ModelCost
from adadecode.sim.hardware.importers.serving_rows import ServingRows
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.roofline import estimate

TOKENS = (*range(1, 17), *(2**power for power in range(5, 14)))
"""Tokens and sequences that are priced: 1 to 16, and powers of 2 to 8,192."""

POSITIONS = tuple(2**power for power in range(4, 18))
"""Contexts that are priced: powers of 2 from 16 to 131,072."""

CHUNKS = tuple(2**power for power in range(1, 14))
"""Chunks of prompts that are priced: powers of 2 from 2 to 8,192."""

LEAST = 1e-9
"""Seconds that every piece takes at least."""


def serving_of_datasheet(shape: ModelShape, device: Device, precision: Precision) -> pd.DataFrame:
    """Estimate the table ``serving`` of a model from bytes, FLOPs and kernels.

    Args:
        shape: The model. Layers that differ count as their mean.
        device: The device.
        precision: Number formats of the model.

    Raises:
        DeviceError: If the device lacks the format.
    """
    cost = precision.cost(shape)

    def seconds(parts: Iterable[tuple[Cost, int]]) -> float:
        times = (
            count * estimate(one, device, precision.activations).middle for one, count in parts
        )
        return max(sum(times) / shape.n_layers, LEAST)

    rows = ServingRows()
    for tokens in TOKENS:
        layers = [
            (cost.layer(tokens, 0, shape.each_layer.index(one)), count)
            for one, count in shape.kinds.items()
        ]
        rows.add("layer", seconds(layers), n_tokens=tokens)
        rows.add("ends", seconds([(cost.embed(tokens), shape.n_layers)]), n_tokens=tokens)
        rows.add("choice", seconds([(cost.verify(tokens), shape.n_layers)]), n_tokens=tokens)
        for kind, asked in (("check", _of_rows(cost.head(), tokens)), ("gate", cost.gate())):
            rows.add(kind, seconds([(asked, shape.n_layers)]), n_tokens=tokens)
    for context in POSITIONS:
        for count in (one for one in TOKENS if one in (1, *CHUNKS)):
            cached = _attention(cost, [(1, context)] * count)
            rows.add("attention", seconds(cached), n_decode=count, context=context)
    for chunk in CHUNKS:
        for cached in (0, *POSITIONS):
            one = _attention(cost, [(chunk, cached + chunk / 2)])
            rows.add("attention", seconds(one), chunk=chunk, cached=cached)
    return rows.table()


def serving_of_decoding(table: LatencyTable) -> pd.DataFrame:
    """Return the table ``serving`` of times that a decode loop of one sequence was measured with.

    What attention adds with the context gives the seconds of a token and a position, which several
    sequences take one after the other. Chunks larger than any batch of the loop take the time of
    prompts as long. What the host took outside the model is in every piece of work, as a prediction
    counts it: once for the layers of a step, and once for what is then asked of a gate, a head or
    the last layer. A check of several rows takes what a verification of as many takes more than one
    of a single row.

    Args:
        table: The times, up to the largest batch there is.

    Raises:
        LatencyError: If it lacks layers of one token, verification, or embedding.
    """
    points = table.points
    layers = points[points["kind"] == "layer"]
    shared = layers.groupby("n_tokens")["layer"].nunique()
    counts = sorted(shared[shared == table.n_layers].index.tolist())
    if not counts or counts[0] != 1:
        raise LatencyError("wanted times of all layers for one token, got none: record them")
    near, far = min(table.contexts), max(table.contexts)
    reuse = max(table.reuses)
    host = table.host()
    rows, pairs = ServingRows(), dict[int, float]()
    for tokens in counts:
        low, high = (
            table.layers(0, table.n_layers, tokens, context, reuse) / table.n_layers
            for context in (near, far)
        )
        slope = max(high - low, 0.0) / max(far - near, 1)
        pairs[tokens] = max(slope, LEAST / max(far, 1))
        rows.add("layer", max(low - near * slope, LEAST), n_tokens=tokens)
        rows.add("ends", max(table.embed(tokens), LEAST), n_tokens=tokens)
        rows.add("choice", table.verify(tokens) + host, n_tokens=tokens)
    for tokens in (1, TOKENS[-1]) if host else ():
        rows.add("host", host, n_tokens=tokens)
    _add_questions(rows, table, counts, host)
    _add_prompts(rows, table, counts[-1], pairs[counts[-1]] / counts[-1], host)
    for context in POSITIONS:
        for count in (1, *CHUNKS):
            rows.add("attention", count * context * pairs[1], n_decode=count, context=context)
    for chunk in CHUNKS:
        known = max(one for one in counts if one <= chunk)
        for cached in (0, *POSITIONS):
            seen = (cached + chunk / 2) * chunk / known
            rows.add("attention", seen * pairs[known], chunk=chunk, cached=cached)
    return rows.table()


def _add_prompts(
    rows: ServingRows, table: LatencyTable, largest: int, pair: float, host: float
) -> None:
    """Add layers of as many tokens as whole prompts have, without attention and what follows."""
    points = table.points
    for tokens in sorted(points.loc[points["kind"] == "prefill", "n_tokens"].tolist()):
        if tokens > largest:
            attention = pair * tokens * tokens / 2
            whole = (table.prefill(tokens) - table.verify(1) - 2 * host) / table.n_layers
            rows.add("layer", max(whole - attention, LEAST), n_tokens=tokens)
            rows.add("ends", LEAST, n_tokens=tokens)


def _add_questions(
    rows: ServingRows, table: LatencyTable, counts: Sequence[int], host: float
) -> None:
    """Add checks and gates where they were timed, the mean over their depths."""
    points = table.points
    heads = sorted(points.loc[points["kind"] == "head", "layer"].unique().tolist())
    gates = [table.gate(depth) for depth in table.gate_depths]
    reuse = max(table.reuses)
    for tokens in counts if heads else ():
        one = sum(table.head(depth, reuse) for depth in heads) / len(heads)
        more = max(table.verify(tokens) - table.verify(1), 0.0)
        rows.add("check", one + more + host, n_tokens=tokens)
    for tokens in (1, TOKENS[-1]) if gates else ():
        rows.add("gate", sum(gates) / len(gates) + host, n_tokens=tokens)


def _of_rows(cost: Cost, count: int) -> Cost:
    """Return the cost of a product over so many rows, from that of one."""
    return replace(cost, flops=count * cost.flops, activations=count * cost.activations)


def _attention(cost: ModelCost, sequences: list[tuple[int, float]]) -> list[tuple[Cost, int]]:
    """Return the cost of attention by kind of layer, with how many layers are of it.

    Args:
        cost: The cost of the model's work.
        sequences: For each, its new tokens and the positions that each of them sees on average.
    """
    found = []
    for layer, count in cost.shape.kinds.items():
        moved = flops = 0.0
        for tokens, context in sequences:
            seen = min(context, layer.window or context)
            moved += (seen + tokens / 2) * layer.reads + tokens * layer.cache
            flops += 2.0 * tokens * seen * layer.products
        one = Cost(cache=moved * cost.cache_bytes, flops=flops, kernels=1)
        found.append((one, count))
    return found
