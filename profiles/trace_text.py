"""One prompt of a trace with its text, and what every head predicts before each token of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.hashing import dice

OTHER = -1
"""Stands for a token that was drawn and did not hold. Which one it was is not known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceText:
    """One prompt and its continuation.

    Attributes:
        domain: Domain of the prompt.
        n_prompt: Tokens of the prompt.
        max_new_tokens: Budget of the prompt, the first token included.
        ended: Whether the text ended by itself.
        first_token: Output 0, from the prefill.
        confidence: Confidences, ``[n_output, n_depths + 1]``, a column per head and the last
            layer's last. Row 0, before which no head is evaluated, is NaN.
        token: Tokens in the same shape. Row 0 is -1 but for the first token in the last column.
        confidence_rows: ``confidence`` as lists, for fast look-up of single values.
        token_rows: ``token`` as lists.
        gate: Scores of the gates in the same shape; NaN in row 0, for the last layer, and where
            heads have none.
        gate_rows: ``gate`` as lists.
    """

    domain: str
    n_prompt: int
    max_new_tokens: int
    ended: bool
    first_token: int
    confidence: NDArray[np.float64]
    token: NDArray[np.int32]
    confidence_rows: list[list[float]] = field(repr=False)
    token_rows: list[list[int]] = field(repr=False)
    gate: NDArray[np.float64]
    gate_rows: list[list[float]] = field(repr=False)

    @classmethod
    def from_rows(
        cls,
        prompt: Mapping[Any, Any],
        trace: pd.DataFrame,
        depths: tuple[int, ...],
        *,
        sampled: bool,
    ) -> TraceText:
        """Make the text of one prompt.

        Args:
            prompt: Its row of the table ``prompts``.
            trace: Its rows of the table ``trace``, sorted by output and depth.
            depths: Depths of the heads and L, rising.
            sampled: Whether the text was sampled.

        Raises:
            ProfileError: Unless every head and the last layer predicted once before each output
                from 1 on, and ``agrees`` is right.
        """
        n_output, width = int(prompt["n_output"]), len(depths)
        _check_rows(prompt, trace, depths)
        confidence = np.full((n_output, width), np.nan)
        token = np.full((n_output, width), -1, dtype=np.int32)
        gate = np.full((n_output, width), np.nan)
        confidence[1:] = trace["confidence"].to_numpy().reshape(-1, width)
        token[1:] = trace["token"].to_numpy().reshape(-1, width)
        token[0, -1] = prompt["first_token"]
        if "gate" in trace:
            gate[1:] = trace["gate"].to_numpy().reshape(-1, width)
        agrees = trace["agrees"].to_numpy().reshape(-1, width)
        if ((token[1:] == token[1:, -1:]) != agrees).any():
            raise ProfileError(
                "wanted agrees to hold where a head's token is the last layer's, it does not for "
                f"prompt {prompt['prompt']}: record it again"
            )
        if sampled:
            random = np.array(
                [dice(int(prompt["prompt"]), output) for output in range(1, n_output)]
            )
            acceptance = trace["acceptance"].to_numpy().reshape(-1, width)[:, :-1]
            holds = (random / 2**32)[:, None] < acceptance
            token[1:, :-1] = np.where(holds, token[1:, -1:], OTHER)
        confidence.flags.writeable = token.flags.writeable = gate.flags.writeable = False
        return cls(
            domain=str(prompt["domain"]),
            n_prompt=int(prompt["n_prompt"]),
            max_new_tokens=int(prompt["max_new_tokens"]),
            ended=bool(prompt["ended"]),
            first_token=int(prompt["first_token"]),
            confidence=confidence,
            token=token,
            confidence_rows=confidence.tolist(),
            token_rows=token.tolist(),
            gate=gate,
            gate_rows=gate.tolist(),
        )

    def with_columns(self, columns: Sequence[int]) -> TraceText:
        """Return the same text with these columns alone."""
        moved = self.with_outputs(self.confidence[:, columns], self.token[:, columns])
        return moved.with_gates(self.gate[:, columns])

    def with_gates(self, gate: NDArray[np.float64]) -> TraceText:
        """Return the same text with other scores of its gates."""
        gate.flags.writeable = False
        return replace(self, gate=gate, gate_rows=gate.tolist())

    def with_outputs(self, confidence: NDArray[np.float64], token: NDArray[np.int32]) -> TraceText:
        """Return the same text with other outputs of its heads."""
        confidence.flags.writeable = token.flags.writeable = False
        return replace(
            self,
            confidence=confidence,
            token=token,
            confidence_rows=confidence.tolist(),
            token_rows=token.tolist(),
        )


def _check_rows(prompt: Mapping[Any, Any], trace: pd.DataFrame, depths: tuple[int, ...]) -> None:
    """Raise ProfileError unless every depth has a row before each output from 1 on."""
    n_output, width = int(prompt["n_output"]), len(depths)
    wanted = (n_output - 1) * width
    if (
        len(trace) == wanted
        and (trace["output"].to_numpy() == np.repeat(np.arange(1, n_output), width)).all()
        and (trace["depth"].to_numpy() == np.tile(depths, n_output - 1)).all()
    ):
        return
    raise ProfileError(
        f"wanted depths {', '.join(map(str, depths))} before each of outputs 1..{n_output - 1} in "
        f"the trace of prompt {prompt['prompt']} ({wanted} rows), got {len(trace)} rows, other "
        "ones or with gaps: record it again with `adadecode-profile`"
    )
