"""Checks of what a user gives the batched engine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import most_positions
from adadecode.profiles.errors import DesignError, InputError
from adadecode.sim.core.design import RUNNABLE, Design, Policy
from adadecode.sim.core.scalars import whole_number
from adadecode.sim.serving.batching.block_pool import checked_count

TokenIds = torch.Tensor | Sequence[int]
"""Token ids of one prompt: a tensor ``(1, n)`` or ``(n,)``, or a list."""


_TYPICAL_POSITIONS = 2048
"""Positions of each text that there are blocks for where nobody says how many."""


def default_blocks(model: PreTrainedModel, max_num_seqs: int, block_size: int) -> int:
    """Return how many blocks hold so many texts of 2,048 positions, or of all that a model has.

    Raises:
        InputError: A limit is no whole number from 1 on.
    """
    texts = checked_count("max_num_seqs", max_num_seqs)
    positions = min(most_positions(model) or _TYPICAL_POSITIONS, _TYPICAL_POSITIONS)
    return texts * -(-positions // checked_count("block_size", block_size))


def checked_design(design: Design | None, heads: ExitHeads) -> Design:
    """Return the design to follow; by default AdaDecode's with all heads, if there are any.

    Raises:
        DesignError: It is no design, or one that no engine can follow.
        HeadsError: It asks a head or a gate that is not there.
    """
    if design is None:
        policy = Policy.ADADECODE if heads.depths else Policy.VANILLA
        return Design.of(policy, placement=heads.depths)
    if not isinstance(design, Design):
        raise DesignError(
            f"wanted design as a Design, got a {type(design).__name__}: make one with "
            'Design.of("adadecode", gamma=0.75, placement=[4, 8])'
        )
    if design.policy not in RUNNABLE:
        raise DesignError(
            f"the policy {design.policy} must know the text in advance: simulate it from a "
            f"recorded trace with adadecode-sim, or run one of {', '.join(RUNNABLE)}"
        )
    heads.require_design(design)
    return design


def one_sequence(input_ids: TokenIds) -> torch.Tensor:
    """Return token ids as a tensor ``(1, n)``, where they are a list or a tensor ``(n,)``.

    Raises:
        InputError: They are neither a list of whole numbers nor a tensor.
    """
    if isinstance(input_ids, torch.Tensor):
        return input_ids[None] if input_ids.ndim == 1 else input_ids
    given = input_ids if isinstance(input_ids, list | tuple) else ()
    ids = [whole_number(token) for token in given]
    if not ids or None in ids:
        raise InputError(
            "wanted the input ids of one prompt as a list of token ids or a tensor (1, n), got "
            f"{input_ids!r}: give tokenizer(text).input_ids"
        )
    return torch.tensor([ids])
