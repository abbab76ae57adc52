"""What a form of the heads loses, and how often each head agrees with the last layer."""

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
    """What a form of the heads loses.

    Attributes:
        outputs: How many outputs were looked at; each text's first is left out, which no head
            drafts.
        outside: Share of them outside the shortlist.
        depths: Depths of the heads.
        full: By head, the share of outputs that are the full head's top token.
        formed: By head, the same of the head in its form.
        same: By head, the share of outputs where both have the same top token.
    """

    outputs: int
    outside: float
    depths: tuple[int, ...]
    full: tuple[float, ...]
    formed: tuple[float, ...]
    same: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the coverage as JSON holds it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def measure_coverage(
    parts: SegmentedModel, model: PreTrainedModel, heads: ExitHeads, texts: Sequence[Continuation]
) -> HeadCoverage | None:
    """Measure what the form of ``heads`` loses on some texts, each in one teacher-forced pass.

    Args:
        parts: The model, taken apart.
        model: The model.
        heads: The heads in their form.
        texts: Prompts and outputs.

    Returns:
        The coverage, or None where no text has a second output.
    """
    full = heads.shaped(model)
    texts = [text for text in texts if len(text.output) > 1]
    outputs = sum(len(text.output) - 1 for text in texts)
    if not outputs:
        return None
    with torch.inference_mode():
        parts.allocate(max(text.prompt.shape[1] + len(text.output) for text in texts))
    outside = 0
    counts = torch.zeros((3, len(heads.depths)), dtype=torch.long)
    for text in texts:
        output = torch.tensor(text.output[1:])
        formed_heads = heads.for_text(text.prompt[0].tolist())
        held = formed_heads.held()
        outside += 0 if held is None else int((~torch.isin(output, held)).sum())
        states = states_of(parts, text, heads.depths)[1:]
        for start in range(0, len(output), _ROWS):
            part = output[start : start + _ROWS]
            for place, depth in enumerate(heads.depths):
                normed = states[None, start : start + _ROWS, place].to(parts.device)
                with torch.inference_mode():
                    tops = [
                        form.logits(parts, depth, normed)[0].argmax(-1).cpu()
                        for form in (full, formed_heads)
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
