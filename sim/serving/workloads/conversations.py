"""Conversations as ShareGPT has them: text, without arrivals and without counts of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.workloads.csv_files import ASK_ARRIVALS
from adadecode.sim.serving.workloads.trace_rows import TraceRows

CountTokens = Callable[[str], int]
"""Returns how many tokens a text is, in the model's own vocabulary."""


def is_conversations(document: object) -> bool:
    """Return whether the value of a JSON file is a list of conversations."""
    return (
        isinstance(document, list)
        and bool(document)
        and isinstance(document[0], dict)
        and "conversations" in document[0]
    )


def refuse_arrivals(where: str) -> InputError:
    """Return what is lacking where requests with arrivals are wanted."""
    return InputError(
        f"{where} holds conversations, and not when requests arrive: {ASK_ARRIVALS}, with the "
        "lengths counted by a tokenizer (read_lengths with count_tokens)"
    )


def read_conversations(
    document: list[Any], where: str, count_tokens: CountTokens | None
) -> TraceRows:
    """Return the lengths of conversations: the first message and its answer, as vLLM takes them.

    Conversations without an answer, or of which a side has no token, are left out.

    Args:
        document: The value of the file.
        where: Its name, for messages.
        count_tokens: Counts the tokens of a text.

    Raises:
        InputError: If there is no way to count tokens, or a conversation has another form.
    """
    if count_tokens is None:
        raise InputError(
            f"{where} holds text, whose length depends on the tokenizer: give count_tokens, or a "
            "CSV with num_prefill_tokens,num_decode_tokens"
        )
    lengths, numbers = [], []
    for number, one in enumerate(document, start=1):
        turns = one.get("conversations") if isinstance(one, dict) else None
        if not isinstance(turns, list):
            raise InputError(f"wanted conversations in item {number} of {where}, got none: mend it")
        texts = [turn.get("value") for turn in turns[:2] if isinstance(turn, dict)]
        counts = [count_tokens(text) for text in texts if isinstance(text, str)]
        if len(counts) == 2 and min(counts) > 0:
            lengths.append(counts)
            numbers.append(number)
    prompts, outputs = np.array(lengths, dtype=np.float64).reshape(-1, 2).T
    return TraceRows(
        where=where,
        lines=np.array(numbers, dtype=np.int64),
        arrival_s=np.zeros(len(numbers)),
        n_prompt=prompts,
        n_output=outputs,
        left_out=len(document) - len(numbers),
        notes=("the first message of each conversation and its answer",),
    )
