"""What a form of the heads loses: outputs that its shortlist does not hold, and how often each head says what the last layer says, full and in this form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from adadecode.engine.decoding.hidden_states import Continuation, states_of
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import SegmentedModel

_ROWS = 64
"""Positions at a time: logits of a vocabulary take room."""


@dataclass(frozen=True, kw_only=True)
class HeadCoverage:
    """outputs: how many, each text's first left out, which no head is asked for. outside: share of them outside the shortlist.

    depths: of the heads. full, formed: share of the outputs that the head's top token is, by depth. same: share where both say the same.
    """

    outputs: int
    outside: float
    depths: tuple[int, ...]
    full: tuple[float, ...]
    formed: tuple[float, ...]
    same: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def measure_coverage(
    parts: SegmentedModel, model: PreTrainedModel, heads: ExitHeads, texts: Sequence[Continuation]
) -> HeadCoverage | None:
    """Of ``heads`` on these texts, each in one teacher-forced pass; None where no text has a second output."""
    full = heads.shaped(model)
    texts = [text for text in texts if len(text.output) > 1]
    outputs = sum(len(text.output) - 1 for text in texts)
    if not outputs:
        return None
    with torch.inference_mode():
        parts.allocate(max(text.prompt.shape[1] + len(text.output) for text in texts))
    held = None if heads.tokens is None else torch.tensor(heads.tokens)
    outside = 0
    counts = torch.zeros((3, len(heads.depths)), dtype=torch.long)
    for text in texts:
        said = torch.tensor(text.output[1:])
        outside += 0 if held is None else int((~torch.isin(said, held)).sum())
        states = states_of(parts, text, heads.depths)[1:]
        for start in range(0, len(said), _ROWS):
            part = said[start : start + _ROWS]
            for place, depth in enumerate(heads.depths):
                normed = states[None, start : start + _ROWS, place].to(parts.device)
                with torch.inference_mode():
                    tops = [
                        form.logits(parts, depth, normed)[0].argmax(-1).cpu()
                        for form in (full, heads)
                    ]
                counts[:, place] += torch.stack(
                    [(top == part).sum() for top in tops] + [(tops[0] == tops[1]).sum()]
                )
    shares = (counts.double() / outputs).tolist()
    full_share, formed, same = (tuple(row) for row in shares)
    return HeadCoverage(
        outputs=outputs,
        outside=outside / outputs,
        depths=heads.depths,
        full=full_share,
        formed=formed,
        same=same,
    )
