"""What tokenizers give beside token ids: which of them are text, and which are padding.

``generate(**inputs)`` takes what ``tokenizer(text, return_tensors="pt")`` and
``tokenizer.apply_chat_template(chat, return_tensors="pt")`` return. One sequence needs no padding,
and positions are counted from its first token: padding at the left is cut off, as ``generate`` of
``transformers`` masks it, and any other is refused.
"""

from __future__ import annotations

import torch

from adadecode.engine.model.end_tokens import own_end_tokens
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import InputError
from adadecode.sim.core.scalars import whole_number

LONE = "decode one prompt at a time, without padding, or pad it at the left"
"""What to do about padding."""


def without_padding(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    token_type_ids: torch.Tensor | None,
    parts: SegmentedModel,
) -> torch.Tensor:
    """Return the token ids that are text.

    Args:
        input_ids: Token ids of one sequence, shape ``(1, n)``.
        attention_mask: 1 for text and 0 for padding, shape ``(1, n)``. Where it is None, the
            model's padding token is padding, as for ``generate``, unless it ends texts.
        token_type_ids: Segments of the text, of which a decoder knows one: all 0.
        parts: The model.

    Returns:
        Token ids, shape ``(1, m)``, m <= n.

    Raises:
        InputError: A mask has another shape or other values, padding stands elsewhere than at the
            left, nothing is text, or there are several segments.
    """
    if token_type_ids is not None:
        _check_segments(token_type_ids)
    if attention_mask is not None:
        text, named = _checked_mask(attention_mask, input_ids), "attention_mask"
    else:
        padding = _padding_token(input_ids, parts)
        if padding is None:
            return input_ids
        text, named = input_ids != padding, f"the padding token {padding}"
    kept = text[0].nonzero()[:, 0]
    if not len(kept):
        raise InputError(f"nothing of the input is text by {named}: give token ids of a text")
    if bool(text[0, kept[0] :].all()):
        return input_ids[:, kept[0] :]
    where = "at the right" if bool(text[0, kept[0] : kept[-1] + 1].all()) else "in the middle"
    todo = (
        LONE
        if attention_mask is not None
        else (f"{LONE}; where it is text, give attention_mask=torch.ones_like(input_ids)")
    )
    raise InputError(f"by {named} there is padding {where} of the input: {todo}")


def _checked_mask(mask: object, input_ids: torch.Tensor) -> torch.Tensor:
    """Return the attention mask as booleans."""
    if not isinstance(mask, torch.Tensor):
        raise InputError(
            f"wanted attention_mask as a tensor like the input ids, got a {type(mask).__name__}: "
            "give the tokenizer's own"
        )
    if mask.shape != input_ids.shape:
        raise InputError(
            f"wanted attention_mask for the input's {tuple(input_ids.shape)} token ids, got "
            f"{tuple(mask.shape)}: give the tokenizer's own"
        )
    text = mask.to(input_ids.device) != 0
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError(
            "wanted attention_mask of 0 for padding and 1 for text, got other values: give the "
            "tokenizer's own"
        )
    return text


def _check_segments(token_type_ids: object) -> None:
    if not isinstance(token_type_ids, torch.Tensor) or bool(token_type_ids.any()):
        raise InputError(
            "wanted no token_type_ids, or 0 for each token: a decoder reads one text, without "
            "segments or images; leave them out"
        )


def _padding_token(input_ids: torch.Tensor, parts: SegmentedModel) -> int | None:
    """Return the token in the input that ``generate`` takes for padding; None where there is none.

    The end tokens of the model are asked for only where they matter: its settings may hold none.
    """
    padding = whole_number(parts.model.generation_config.pad_token_id)
    if padding is None or not bool((input_ids == padding).any()):
        return None
    return None if padding in own_end_tokens(parts.model, parts.n_embeddings) else padding
