"""Head outputs off the committed text, as arrays that the compiled replay walks.

A node is a place off the text with a record: the output at which the sequence left the text, and
the drafts since. Which node follows a draft depends on the node and the drafting head alone, so
children are plain indices. Everywhere else a row is drawn, by the same numbers as in
`adadecode.sim.replay.branch_model.BranchModel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.trace import Trace
from adadecode.sim.replay.branch_model import BranchModel, Row, text_row

NOWHERE = -1
"""Stands for the node of a place without a record."""

_Place = tuple[int, int, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class BranchTree:
    """Recorded branches, and the pools of rows that stand in for others.

    Arrays with a row per node or pool entry have a column per trained head, the last layer's last.

    Attributes:
        confidence: Confidences at each node, ``[nodes, columns]``.
        token: Tokens at each node, likewise.
        gate: Scores of gates at each node, likewise; NaN where there are none.
        recorded: Whether they were recorded, likewise.
        child: The node after a draft of each head, likewise.
        roots: The node after the first wrong draft, ``[columns, outputs of all prompts]``.
        pool_confidence: Rows to draw from, ``[pool, columns]``.
        pool_token: Their tokens, likewise.
        pool_gate: Their scores of gates, likewise.
        pools: Where the rows for a number of drafts since the wrong one begin, and how many there
            are, ``[drafts, 2]``; row 0 is for any number beyond.
        committed: The same for rows of committed text, which stand in where a text is not verified.
    """

    confidence: NDArray[np.float64]
    token: NDArray[np.int64]
    gate: NDArray[np.float64]
    recorded: NDArray[np.bool_]
    child: NDArray[np.int64]
    roots: NDArray[np.int64]
    pool_confidence: NDArray[np.float64]
    pool_token: NDArray[np.int64]
    pool_gate: NDArray[np.float64]
    pools: NDArray[np.int64]
    committed: tuple[int, int]

    @classmethod
    def of(cls, model: BranchModel) -> BranchTree:
        """Make the tree from the branches and pools of a branch model."""
        trace = model.trace
        depths = (*trace.depths, trace.n_layers)
        pools = model.by_steps
        rows = [row for steps in pools for _, row in pools[steps]]
        text = [text_row(trace, *where) for where in model.outputs]
        pool_confidence, pool_token, pool_gate, _ = _matrices([*rows, *text], depths)
        committed = (len(rows), len(text))
        anything = (0, len(rows)) if rows else committed
        bounds = np.tile(np.array(anything, dtype=np.int64), (max(pools, default=0) + 1, 1))
        begin = 0
        for steps, drawn in pools.items():
            bounds[steps] = begin, len(drawn)
            begin += len(drawn)
        known, scores = trace.branches(), trace.branch_gates()
        places = _places(known)
        nodes = {place: node for node, place in enumerate(places)}
        confidence, token, gate, recorded = _matrices(
            [Row(known.get(place, {}), scores.get(place, {})) for place in places], depths
        )
        drafts = _drafted_tokens(model, places, token, recorded)
        return cls(
            confidence=confidence,
            token=token,
            gate=gate,
            recorded=recorded,
            child=_children(places, nodes, drafts),
            roots=_roots(trace, nodes),
            pool_confidence=pool_confidence,
            pool_token=pool_token,
            pool_gate=pool_gate,
            pools=bounds,
            committed=committed,
        )


def _places(known: Iterable[_Place]) -> list[_Place]:
    """Return every place with a record, and those on the way to one, parents first."""
    found = {
        (prompt, output, path[:steps])
        for prompt, output, path in known
        for steps in range(1, len(path) + 1)
    }
    return sorted(found, key=lambda place: (len(place[2]), place))


def _matrices(
    rows: Sequence[Row], depths: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return confidence, token, score, and whether there was a record, each ``[rows, depths]``."""
    confidence, gate = np.full((2, len(rows), len(depths)), np.nan)
    token = np.full((len(rows), len(depths)), -1, dtype=np.int64)
    there = np.zeros((len(rows), len(depths)), dtype=np.bool_)
    for index, (heads, gates) in enumerate(rows):
        for column, depth in enumerate(depths):
            if depth in heads:
                confidence[index, column], token[index, column] = heads[depth]
                gate[index, column] = gates.get(depth, np.nan)
                there[index, column] = True
    return confidence, token, gate, there


def _drafted_tokens(
    model: BranchModel,
    places: Sequence[_Place],
    token: NDArray[np.int64],
    recorded: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return the token that each head drafts, recorded or drawn, ``[nodes, columns]``."""
    depths = (*model.trace.depths, model.n_layers)
    drafts = token.copy()
    for node in np.flatnonzero(~recorded.all(axis=1)).tolist():
        drawn = model.branch(*places[node]).heads
        for column, depth in enumerate(depths):
            if not recorded[node, column] and depth in drawn:
                drafts[node, column] = drawn[depth][1]
    return drafts


def _children(
    places: Sequence[_Place], nodes: Mapping[_Place, int], drafts: NDArray[np.int64]
) -> NDArray[np.int64]:
    child = np.full(drafts.shape, NOWHERE, dtype=np.int64)
    for node, (prompt, output, path) in enumerate(places):
        if len(path) > 1:
            parent = nodes[prompt, output, path[:-1]]
            child[parent, drafts[parent] == path[-1]] = node
    return child


def _roots(trace: Trace, nodes: Mapping[_Place, int]) -> NDArray[np.int64]:
    lengths = [trace.n_output(prompt) for prompt in trace.prompts]
    first = dict(zip(trace.prompts, np.cumsum([0, *lengths[:-1]]).tolist(), strict=True))
    roots = np.full((len(trace.depths) + 1, sum(lengths)), NOWHERE, dtype=np.int64)
    for (prompt, output, path), node in nodes.items():
        if len(path) == 1 and prompt in first and output < trace.n_output(prompt):
            roots[trace.tokens(prompt)[output] == path[0], first[prompt] + output] = node
    return roots
