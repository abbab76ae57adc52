"""Recorded texts whose heads are wrong more often, or less often, than they were.

They are the trace itself, with some answers exchanged. Which outputs these are is drawn, the same
ones first whatever the share, so that more mistakes are never luck. Confidences stay: a head that
is wrong where it was right is as confident as before, which is the costly way to be wrong. After a
draft that was not made, nothing was recorded: a recorded branch stands in
(`adadecode.sim.replay.outcomes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adadecode.sim.core.design import Design
from adadecode.sim.replay.compiled import CompiledReplay

OTHER = -2
"""Stands for the wrong token of a head that was right; no vocabulary has it."""

_Array = NDArray[np.float64]


def with_wrong_heads(
    replay: CompiledReplay,
    wrong: float | _Array = 0.0,
    right: float | _Array = 0.0,
    *,
    seed: int = 0,
) -> CompiledReplay:
    """Return the same texts with some answers exchanged.

    Heads go wrong together: an output is hard for all of them, or for none.

    Args:
        replay: The recorded texts, compiled.
        wrong: Share of right answers that become wrong: one for all heads, or one each, shape
            ``(heads,)``.
        right: Share of wrong answers that become right, likewise.
        seed: Of the draw.
    """
    heads = len(replay.depths)
    drawn: _Array = np.random.default_rng(seed).random((replay.token.shape[1],))
    drawn[replay.first[:-1]] = 1.0  # no head drafts the first output
    token, roots = replay.token.copy(), replay.tree.roots.copy()
    agrees = token[:-1] == token[-1]
    spoiled, mended = (
        where & (drawn < np.broadcast_to(share, heads)[:, None])
        for where, share in ((agrees, np.asarray(wrong)), (~agrees, np.asarray(right)))
    )
    token[:-1] = np.where(spoiled, OTHER, np.where(mended, token[-1], token[:-1]))
    roots[:heads][spoiled] = -1
    return replace(
        replay, token=token, ends=np.isin(token, replay.eos), tree=replace(replay.tree, roots=roots)
    )


def with_silent_heads(replay: CompiledReplay) -> CompiledReplay:
    """Return the same texts with heads that have no confidence: each is checked, none drafts.

    Gates let every one of them be asked.
    """
    return with_open_gates(replace(replay, confidence=np.zeros_like(replay.confidence)))


def with_open_gates(replay: CompiledReplay) -> CompiledReplay:
    """Return the same texts with gates that let every head be asked, off the text too."""
    scores = {name: np.ones_like(getattr(replay.tree, name)) for name in ("gate", "pool_gate")}
    tree = replace(replay.tree, **scores)
    return replace(replay, gate=np.ones_like(replay.gate), tree=tree)


def with_ideal_gates(replay: CompiledReplay, design: Design) -> CompiledReplay:
    """Return the same texts with gates that know: 1 where a head would draft rightly, else 0.

    A head is then asked at good exits alone, so that no draft is ever rejected. No gate can do
    better with these heads and gammas.
    """
    right = replay.token == replay.token[-1]
    gate = np.zeros_like(replay.gate)
    for column, depth in enumerate(replay.depths):
        if depth in design.placement:
            sure = replay.confidence[column] > design.threshold(depth)
            gate[column] = right[column] & sure & ~replay.ends[column]
    return replace(replay, gate=gate, has_gates=True)


def agreement(replay: CompiledReplay, prompts: Sequence[int]) -> _Array:
    """Return the share of outputs at which a head agrees with the last layer.

    Args:
        replay: The recorded texts, compiled.
        prompts: Which prompts to count.

    Returns:
        Shares in 0..1, shape ``(heads,)``.
    """
    spoken = np.zeros(replay.token.shape[1], dtype=np.bool_)
    for prompt in prompts:
        place = replay.prompts.index(prompt)
        spoken[replay.first[place] + 1 : replay.first[place + 1]] = True
    shares: _Array = (replay.token[:-1, spoken] == replay.token[-1, spoken]).mean(axis=1)
    return shares


def used_depths(design: Design, n_layers: int) -> tuple[int, ...]:
    """Return the depths of the heads that a design ever checks: none at gamma 1."""
    return design.boundaries(n_layers)[1:-1]
