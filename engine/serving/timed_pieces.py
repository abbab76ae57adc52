"""A batched decoder that times its steps in pieces, in its own loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.runtime.timer import synchronized_now
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.engine.serving.batched_model import BatchedModel
from adadecode.engine.serving.batched_text import BatchedText
from adadecode.engine.serving.engine_thread import EngineThread
from adadecode.engine.serving.paged_keys_values import PackedRows, PagedKeysValues
from adadecode.sim.core.scheduler import Outcome, Verify
from adadecode.sim.serving.batching.batcher import Batch, Question
from adadecode.sim.serving.batching.recorded_load import EngineSettings
from adadecode.sim.serving.load_validation.batch_times import ASKED

PIECES = ("embed", "layers", "attention", "gates", "checks", "verified")
"""The pieces of a step but for what the host does, as columns of the table ``load_pieces``."""


@dataclass(kw_only=True)
class TimedStep:
    """What the pieces of one step took.

    Attributes:
        batch: What it ran.
        n_prompts: Tokens of the prompt of each of its sequences.
        seconds: By piece.
        asked: Rows that were asked, by the piece.
    """

    batch: Batch
    n_prompts: tuple[int, ...]
    seconds: dict[str, float]
    asked: dict[str, int]


class _TimedPages(PagedKeysValues):
    """Keys and values that count the time of attention."""

    seconds = 0.0

    def attend(
        self, rows: PackedRows, module: torch.nn.Module, query: torch.Tensor, *args: Any, **kw: Any
    ) -> tuple[torch.Tensor, None]:
        begun = synchronized_now(query.device)
        out = super().attend(rows, module, query, *args, **kw)
        self.seconds += synchronized_now(query.device) - begun
        return out


class _TimedModel(BatchedModel):
    """A model that counts the time of the embedding, of layers and of their attention."""

    kind_of_pages = _TimedPages

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seconds = dict.fromkeys(PIECES, 0.0)

    def embed(self, tokens: Sequence[int], rows: PackedRows) -> torch.Tensor:
        begun = self.now()
        out = super().embed(tokens, rows)
        self.seconds["embed"] += self.now() - begun
        return out

    def run(self, first: int, last: int, hidden: torch.Tensor, rows: PackedRows) -> torch.Tensor:
        pages = self.pages
        assert isinstance(pages, _TimedPages)
        pages.seconds, begun = 0.0, self.now()
        out = super().run(first, last, hidden, rows)
        self.seconds["layers"] += self.now() - begun - pages.seconds
        self.seconds["attention"] += pages.seconds
        return out

    def now(self) -> float:
        """Return the time once all devices have done what they were given."""
        return synchronized_now(*self.parts.devices)


class TimedDecoder(BatchedDecoder):
    """A batched decoder that notes what the pieces of every step took, in `timed`."""

    kind_of_model = _TimedModel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.timed: list[TimedStep] = []

    def _run(self, batch: Batch, texts: Sequence[BatchedText]) -> None:
        model = self.model
        assert isinstance(model, _TimedModel)
        model.seconds = dict.fromkeys(PIECES, 0.0)
        self.timed.append(
            TimedStep(
                batch=batch,
                n_prompts=tuple(text.sequence.n_prompt for text in texts),
                seconds=model.seconds,
                asked=dict.fromkeys(ASKED.values(), 0),
            )
        )
        super()._run(batch, texts)

    def _answers(self, segment: int, asked: Sequence[tuple[str, Question]]) -> list[Outcome]:
        model, step = self.model, self.timed[-1]
        assert isinstance(model, _TimedModel)
        piece, begun = ASKED[type(asked[0][1])], model.now()
        out = super()._answers(segment, asked)
        step.seconds[piece] += model.now() - begun
        works = (work for _, work in asked)
        step.asked[piece] += sum(
            one.stop - one.start if isinstance(one, Verify) else 1 for one in works
        )
        return out


def timed_steps(
    model: PreTrainedModel,
    heads: ExitHeads,
    settings: EngineSettings,
    bursts: Sequence[Sequence[tuple[Sequence[int], int]]],
    eos: frozenset[int],
) -> list[dict[str, Any]]:
    """Serve bursts of texts, each once the one before has ended, and return the pieces of steps.

    Args:
        model: The model.
        heads: Its exit heads.
        settings: How the engine is set.
        bursts: Texts that are submitted at once: token ids of each prompt, and the most tokens
            that it is continued by. The first burst warms up, and is not returned.
        eos: Tokens that end a text.

    Returns:
        Rows of the table ``load_pieces``, without the number of the run.
    """
    decoder = TimedDecoder(
        model,
        heads,
        settings.design,
        **settings.limits(),
        record=True,
    )
    thread = EngineThread(decoder)
    thread.start()
    found: list[dict[str, Any]] = []
    try:
        for number, burst in enumerate(bursts):
            first = len(decoder.steps)
            requests = [
                thread.queue(decoder.text(ids, most, eos_token_id=sorted(eos)), None)
                for ids, most in burst
            ]
            for one in requests:
                one.result()
            alone = requests[0].text.arrival_s if len(burst) == 1 else None
            if number:
                found += _rows(decoder, first, alone)
    finally:
        thread.close(cancel=True)
        thread.join()
    return found


def _rows(decoder: TimedDecoder, first: int, arrival: float | None) -> list[dict[str, Any]]:
    """Return the rows of all steps from a first one on, but the last, after which nothing begins.

    Args:
        decoder: The decoder.
        first: The first step.
        arrival: When the only text arrived; None of several.
    """
    rows = []
    steps = zip(decoder.timed[first:], pairwise(decoder.steps[first:]), strict=False)
    for number, (timed, (record, after)) in enumerate(steps):
        spans = timed.batch.spans
        whole = after.begun_s - record.begun_s
        woken = arrival is not None and number == 0
        rows.append(
            {
                "segment": timed.batch.segment,
                "rows": tuple(span.stop - span.start for span in spans),
                "stops": tuple(span.stop for span in spans),
                "n_prompts": timed.n_prompts,
                **timed.asked,
                **{f"{piece}_s": seconds for piece, seconds in timed.seconds.items()},
                "host_s": max(whole - sum(timed.seconds.values()), 0.0),
                "wake_s": record.begun_s - arrival if woken and arrival is not None else math.nan,
            }
        )
    return rows
