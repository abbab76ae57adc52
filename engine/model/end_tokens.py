"""The tokens that end a text: those that a user gives, or the model's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsIndex

from transformers import PreTrainedModel

from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import InputError
from adadecode.sim.core.scalars import whole_number

EndTokens = SupportsIndex | Iterable[SupportsIndex] | None
"""Tokens that end a text: one, several, none (an empty sequence), or None for the model's own."""

_ADVICE = "give a token id such as tokenizer.eos_token_id, a list of them, or () for none"


def checked_end_tokens(
    eos_token_id: EndTokens, own: Callable[[], frozenset[int]], parts: SegmentedModel
) -> frozenset[int]:
    """Return the token ids that end a text.

    Args:
        eos_token_id: What the user gave: integers of any kind, in a sequence, set, array or tensor
            of any kind, or one alone.
        own: Gives the model's own, asked for None alone.
        parts: The model.

    Raises:
        InputError: It is no token id and no sequence of them, or one that the model does not have.
    """
    if eos_token_id is None:
        return own()
    ids = _token_ids(eos_token_id)
    if ids is None:
        raise InputError(f"wanted eos_token_id as token ids, got {eos_token_id!r}: {_ADVICE}")
    rows = parts.n_embeddings
    if odd := [token for token in ids if not 0 <= token < rows]:
        raise InputError(
            f"wanted eos_token_id as token ids 0..{rows - 1} of this model, got {odd[0]}: {_ADVICE}"
        )
    return frozenset(ids)


def own_end_tokens(model: PreTrainedModel, n_embeddings: int) -> frozenset[int]:
    """Return the tokens that end a text by the model's generation settings, as they are now.

    They are read as ``generate`` reads them. Ids that the model does not have never come, and are
    left out.

    Args:
        model: The model.
        n_embeddings: How many tokens it embeds.

    Raises:
        InputError: The settings hold what is no token id.
    """
    settings = (
        model.generation_config
        if model.generation_config is not None
        else model.config.get_text_config()
    )
    own = getattr(settings, "eos_token_id", None)
    ids = [] if own is None else _token_ids(own)
    if ids is None:
        raise InputError(
            f"wanted eos_token_id of the model's generation settings as token ids, got {own!r}: "
            "set model.generation_config.eos_token_id to an id or a list of them"
        )
    return frozenset(token for token in ids if 0 <= token < n_embeddings)


def warn_of_missing_end(tokenizer: Any, own: frozenset[int]) -> None:
    """Warn of a tokenizer whose end-of-text token does not end the model's texts.

    ``generate`` goes by the model's generation settings alone, and so does the decoder.

    Args:
        tokenizer: A tokenizer of ``transformers``.
        own: The tokens that end a text by the model's generation settings.
    """
    token = whole_number(getattr(tokenizer, "eos_token_id", None))
    if token is None or token in own:
        return
    ends = f"only {', '.join(map(str, sorted(own)))}" if own else "nothing"
    warnings.warn(
        f"the tokenizer ends texts with {tokenizer.eos_token!r} (token {token}), but by the "
        f"model's generation settings {ends} does: if texts do not stop, set "
        "model.generation_config.eos_token_id, or give eos_token_id",
        stacklevel=3,
    )


def _token_ids(given: SupportsIndex | Iterable[SupportsIndex]) -> list[int] | None:
    """Return one token id or several as a list; None for what are no token ids."""
    if (alone := whole_number(given)) is not None:
        return [alone]
    if isinstance(given, (str, bytes, Mapping)):
        return None
    try:
        ids = [whole_number(token) for token in given]  # type: ignore[union-attr]
    except TypeError:
        return None
    return None if None in ids else [token for token in ids if token is not None]
