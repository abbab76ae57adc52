"""Checks of what a user gives the decoder: a model, heads, input ids, the number of new tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import DesignError, HeadsError, InputError
from adadecode.sim.core.scalars import whole_number

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_model(model: PreTrainedModel) -> None:
    """Raise InputError for what is no model of ``transformers``, such as its name."""
    if not isinstance(model, nn.Module) or not hasattr(model, "get_output_embeddings"):
        raise InputError(
            f"wanted model as a causal LM of transformers, got {_kind(model)}: load one with "
            "AutoModelForCausalLM.from_pretrained(name)"
        )


def check_heads(heads: ExitHeads | None, model: PreTrainedModel) -> None:
    """Raise HeadsError for what are no exit heads, or those of a model of another shape."""
    if heads is None:
        return
    if not isinstance(heads, ExitHeads):
        raise HeadsError(
            f"wanted heads as ExitHeads, got {_kind(heads)}: load them with "
            "ExitHeads.load(folder, model)"
        )
    config = model.config.get_text_config()
    own = (config.num_hidden_layers, config.hidden_size, config.vocab_size)
    theirs = tuple(heads.about[key] for key in ("n_layers", "hidden_size", "vocab_size"))
    if theirs != own:
        raise HeadsError(
            "the heads belong to another model: they are for {} layers, hidden states of {} and "
            "{} tokens, this model has {}, {} and {}; load or train heads for this "
            "one".format(*theirs, *own)
        )


def check_input_ids(input_ids: torch.Tensor, parts: SegmentedModel) -> None:
    """Raise InputError unless these are token ids of one sequence, shape ``(1, n)``, n >= 1."""
    if not isinstance(input_ids, torch.Tensor) or input_ids.dtype not in INTEGERS:
        raise InputError(
            f"wanted the input ids as a tensor of integers (1, n), got {_kind(input_ids)}: "
            + (
                "give its entries by name, as generate(**inputs)"
                if hasattr(input_ids, "keys")
                else "make one with torch.tensor([ids])"
            )
        )
    if input_ids.ndim != 2 or input_ids.shape[0] != 1 or input_ids.shape[1] < 1:
        raise InputError(
            f"wanted the input ids of one sequence, (1, n) with n >= 1, got "
            f"{tuple(input_ids.shape)}: decode one prompt at a time"
        )
    check_vocabulary(input_ids[0].tolist(), parts, "of the input")


def check_vocabulary(ids: Sequence[int], parts: SegmentedModel, whose: str) -> None:
    """Raise InputError where a token id is none that the model embeds.

    Most likely the tokenizer belongs to another model.

    Args:
        ids: Token ids.
        parts: The model.
        whose: Where the ids are from, for the message: ``of the input``.
    """
    rows = parts.n_embeddings
    if ids and not 0 <= min(ids) <= max(ids) < rows:
        odd = max(ids) if max(ids) >= rows else min(ids)
        raise InputError(
            f"the token id {odd} {whose} is outside the model's {rows} embeddings: use the "
            "model's own tokenizer"
        )


def checked_new_tokens(max_new_tokens: object) -> int:
    """Return the number of new tokens as an int. Raises DesignError unless it is one from 1 on."""
    count = whole_number(max_new_tokens)
    if count is None:
        raise DesignError(
            f"wanted max_new_tokens as a whole number, got {max_new_tokens!r}: give an int"
        )
    if count < 1:
        raise DesignError(
            f"wanted at least 1 new token, got max_new_tokens={count}: give 1 or more"
        )
    return count


def _kind(given: object) -> str:
    """Return what something is, for a message."""
    if isinstance(given, torch.Tensor):
        return f"a tensor of {given.dtype}"
    return f"a {type(given).__name__}"
