"""How often another batch changes the tokens of the last layer: the flip report.

A decoded text is put through the model again, teacher-forced in vanilla's own shapes: the prompt in
one pass, then one token at a time. Each of its tokens must be what the model says there, or lie a
small *gap* below it: log-probability of the model's token less that of the text's, in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design, Policy

TOLERANCES = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.25}
"""Nats by dtype: a flip within them is a near-tie.

They are 32 units of the 16-bit formats at 1. Logits are FP32 at most, so FP64 passes show FP32's
rounding.
"""
EDGES = (0.0, 1e-6, 1e-4, 1e-2, 0.05, 0.1, 0.25, 1.0)
"""Nats that part the classes of margins; the first class holds the ties."""

MOST_ROWS = 64
"""Rows of a batch at most: far more than a round has drafts."""

Progress = Callable[[str, int, int], None]
"""Called with a design, how many of its prompts are done, and how many there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ForcedText:
    """A teacher-forced text, compared with the model's tokens at each of its n places.

    Attributes:
        own: The model's token, shape ``(n,)``.
        margin: By how many nats it leads its second, shape ``(n,)``.
        gap: By how many nats it leads the text's token, shape ``(n,)``.
        tokens: The text's tokens, shape ``(n,)``.
    """

    own: npt.NDArray[np.int64]
    margin: npt.NDArray[np.float64]
    gap: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]

    @property
    def flipped(self) -> npt.NDArray[np.bool_]:
        """Where the text has another token than the model, shape ``(n,)``."""
        return self.own != self.tokens

    @classmethod
    def join(cls, texts: Sequence[ForcedText]) -> ForcedText:
        """Return several texts as one."""
        return cls(
            **{
                name: np.concatenate([getattr(text, name) for text in texts])
                for name in ("own", "margin", "gap", "tokens")
            }
        )


def force_text(
    parts: SegmentedModel, prompt: Sequence[int], tokens: Sequence[int], rows: int = 1
) -> ForcedText:
    """Teacher-force a text after a prompt.

    Args:
        parts: The model.
        prompt: Token ids.
        tokens: The text's token ids.
        rows: Tokens a pass; with 1, the shapes are vanilla's.
    """
    text = [*prompt, *tokens[:-1]]
    found = []
    with torch.inference_mode():
        parts.allocate(len(text))
    with parts.session():
        start = 0
        while start < len(text):
            stop = min(len(text), start + rows) if start else len(prompt)
            hidden = parts.embed(torch.tensor([text[start:stop]], device=parts.device), start)
            hidden = parts.run(0, parts.n_layers, hidden, start)
            first = max(start, len(prompt) - 1)
            logits = parts.logits(hidden[:, first - start :], first)[0]
            found.append(
                _compare_rows(logits, tokens[first - len(prompt) + 1 : stop - len(prompt) + 1])
            )
            start = stop
    return ForcedText.join(found)


def _compare_rows(logits: torch.Tensor, tokens: Sequence[int]) -> ForcedText:
    """Compare logits ``(n, V)`` with the text's n tokens there."""
    logs = logits.double().log_softmax(-1)
    own, first_two = (
        logits.argmax(-1),
        logs.topk(2).values,
    )  # the lowest of equal ones, as the decoder has it
    theirs = logs.gather(1, torch.tensor([list(tokens)], device=logs.device).T)[:, 0]
    return ForcedText(
        own=own.cpu().numpy(),
        margin=(first_two[:, 0] - first_two[:, 1]).cpu().numpy(),
        gap=(first_two[:, 0] - theirs).cpu().numpy(),
        tokens=np.asarray(tokens, dtype=np.int64),
    )


def check_batches(batches: Sequence[int]) -> None:
    """Raise InputError for batches that no round of drafts has."""
    if odd := [rows for rows in batches if not 1 <= rows <= MOST_ROWS]:
        raise InputError(f"wanted batches of at least 1 row and at most {MOST_ROWS}, got {odd[0]}")


def flip_report(
    decoder: AdaDecoder,
    prompts: Sequence[Sequence[int]],
    designs: Sequence[Design],
    max_new_tokens: int,
    batches: Sequence[int] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Decode every prompt with every design, and compare each text with the model.

    Args:
        decoder: Decodes.
        prompts: Token ids of each prompt.
        designs: The designs.
        max_new_tokens: The most tokens to add.
        batches: Also teacher-force vanilla's texts in passes of these numbers of rows.
        progress: Called after each text.

    Returns:
        The document printed by ``--json``. ``designs`` has a row each: texts and tokens;
        ``equal_texts``, those that are vanilla's; ``first_divergence``, the earliest place where
        one is not; ``flips``, tokens that are not the model's own; ``beyond``, flips with a gap
        above the dtype's tolerance; ``gaps``, their quantiles; ``by_margin``, places and flips by
        how many nats the model's token leads its second. ``batches`` has the same for each number
        of rows.

    Raises:
        InputError: There is no prompt, or a batch is too large.
    """
    if not prompts:
        raise InputError("wanted at least one prompt, got none")
    check_batches(batches)
    parts = decoder.parts
    vanilla: list[list[int]] = []
    alone: list[ForcedText] = []
    for at, prompt in enumerate(prompts, 1):
        vanilla.append(_text(decoder, prompt, Design.of(Policy.VANILLA), max_new_tokens))
        alone.append(force_text(parts, prompt, vanilla[-1]))
        if progress is not None:
            progress("vanilla", at, len(prompts))
    rows = [_row("vanilla", vanilla, vanilla, alone, parts.dtype)]
    for design in designs:
        texts, forced_texts = [], []
        for at, (prompt, own, known) in enumerate(zip(prompts, vanilla, alone, strict=True), 1):
            texts.append(_text(decoder, prompt, design, max_new_tokens))
            forced_texts.append(known if texts[-1] == own else force_text(parts, prompt, texts[-1]))
            if progress is not None:
                progress(design.label, at, len(prompts))
        rows.append(_row(design.label, texts, vanilla, forced_texts, parts.dtype))
    forced = []
    for size in batches:
        again = [
            force_text(parts, prompt, own, size)
            for prompt, own in zip(prompts, vanilla, strict=True)
        ]
        forced.append({"rows": size, **_counts(_as_batched(again, alone), parts.dtype)})
    return {
        "model": parts.name,
        "dtype": str(parts.dtype).removeprefix("torch."),
        "numerics": decoder.numerics,
        "prompts": len(prompts),
        "tolerance_nats": TOLERANCES[parts.dtype],
        "designs": rows,
        "batches": forced,
    }


def _text(
    decoder: AdaDecoder, prompt: Sequence[int], design: Design, max_new_tokens: int
) -> list[int]:
    """Return the text that a design decodes."""
    decoding = decoder.start(torch.tensor([list(prompt)]), design, max_new_tokens=max_new_tokens)
    with decoder.parts.session():
        for _ in decoding.steps():
            pass
    return decoding.schedule.tokens


def _as_batched(again: Sequence[ForcedText], alone: Sequence[ForcedText]) -> list[ForcedText]:
    """Compare the model's tokens in batches with those of single rows.

    The gap of a flip is the batch's own view of how near the two tokens were.
    """
    return [
        ForcedText(own=a.own, margin=a.margin, gap=b.gap, tokens=b.own)
        for a, b in zip(alone, again, strict=True)
    ]


def _row(
    name: str,
    texts: Sequence[list[int]],
    vanilla: Sequence[list[int]],
    forced_texts: Sequence[ForcedText],
    dtype: torch.dtype,
) -> dict[str, Any]:
    places = [
        (_divergence(text, own), prompt)
        for prompt, (text, own) in enumerate(zip(texts, vanilla, strict=True))
        if text != own
    ]
    first = min(places, default=None)
    return {
        "design": name,
        "texts": len(texts),
        "equal_texts": len(texts) - len(places),
        "first_divergence": None if first is None else {"prompt": first[1], "output": first[0]},
        **_counts(forced_texts, dtype),
    }


def _divergence(text: list[int], own: list[int]) -> int:
    """Return the first output where two texts differ."""
    return next(
        (at for at, (a, b) in enumerate(zip(text, own, strict=False)) if a != b),
        min(len(text), len(own)),
    )


def _counts(forced_texts: Sequence[ForcedText], dtype: torch.dtype) -> dict[str, Any]:
    whole = ForcedText.join(forced_texts)
    flipped = whole.flipped
    gaps = whole.gap[flipped]
    classes = np.digitize(whole.margin, EDGES[1:])
    places, flips = (
        np.bincount(classes, minlength=len(EDGES)),
        np.bincount(classes, weights=flipped, minlength=len(EDGES)),
    )
    return {
        "tokens": len(whole.own),
        "flips": int(flipped.sum()),
        "beyond": int((gaps > TOLERANCES[dtype]).sum()),
        "gaps": {
            name: float(np.quantile(gaps, q))
            for name, q in (("median", 0.5), ("p90", 0.9), ("max", 1.0))
        }
        if len(gaps)
        else None,
        "by_margin": [
            {"from": low, "to": high, "tokens": int(places[k]), "flips": int(flips[k])}
            for k, (low, high) in enumerate(zip(EDGES, (*EDGES[1:], None), strict=True))
        ],
    }
