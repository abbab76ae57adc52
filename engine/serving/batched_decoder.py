"""Decodes many texts at once, step by step, in the thread of the caller."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.decoding.arguments import check_input_ids, checked_new_tokens
from adadecode.engine.decoding.model_with_heads import ModelWithHeads
from adadecode.engine.decoding.sampling import (
    Sampler,
    Sampling,
    make_token_selector,
    verify_greedily,
)
from adadecode.engine.decoding.stop_strings import StopTexts
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.end_tokens import EndTokens, checked_end_tokens
from adadecode.engine.serving.arguments import (
    TokenIds,
    checked_design,
    default_blocks,
    one_sequence,
)
from adadecode.engine.serving.batched_model import BatchedModel, SequenceRows, joined
from adadecode.engine.serving.batched_text import BatchedText
from adadecode.engine.serving.stop_sets import StopSets
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Gate, Outcome, Schedule, Verdict, Verify
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import (
    DEFAULT_MAX_BATCHED_TOKENS,
    DEFAULT_MAX_NUM_SEQS,
    Batch,
    Batcher,
    Question,
)
from adadecode.sim.serving.batching.block_pool import DEFAULT_BLOCK_SIZE, BlockPool
from adadecode.sim.serving.batching.segment_order import DEFAULT_AGE_LIMIT, segment_order
from adadecode.sim.serving.batching.step_record import StepRecord, in_row_order


class BatchedDecoder(ModelWithHeads):
    """A causal LM with exit heads that decodes many texts at once.

    `step` runs one segment for all texts that wait for it. Arguments are those of
    `adadecode.engine.serving.batched_engine.BatchedEngine`, which calls it in a thread of its own.

    Attributes:
        batcher: Says who runs what.
        steps: The record of all steps, where it is kept.
        begun: When the decoder's clock began, as `time.perf_counter` has it.
    """

    kind_of_model: ClassVar[type[BatchedModel]] = BatchedModel

    def __init__(
        self,
        model: PreTrainedModel,
        heads: ExitHeads | None = None,
        design: Design | None = None,
        *,
        max_num_seqs: int = DEFAULT_MAX_NUM_SEQS,
        kv_blocks: int | None = None,
        block_size: int = DEFAULT_BLOCK_SIZE,
        max_batched_tokens: int = DEFAULT_MAX_BATCHED_TOKENS,
        order: str = "lockstep",
        age_limit: int = DEFAULT_AGE_LIMIT,
        record: bool = False,
    ) -> None:
        chosen = segment_order(order, age_limit)
        super().__init__(model, heads)
        self.design_of_all = checked_design(design, self.heads)
        self.boundaries = self.design_of_all.boundaries(self.parts.n_layers)
        blocks = default_blocks(model, max_num_seqs, block_size) if kv_blocks is None else kv_blocks
        self.batcher = Batcher(
            order=chosen,
            pool=BlockPool(blocks, block_size),
            max_num_seqs=max_num_seqs,
            max_batched_tokens=max_batched_tokens,
        )
        pool = self.batcher.pool
        self.model = self.kind_of_model(self.parts, pool.n_blocks, pool.block_size)
        self.steps: list[StepRecord] = []
        self._record = record
        self._stop_sets = StopSets()
        self._warning = Lock()
        self._texts: dict[str, BatchedText] = {}
        self._heads: dict[str, ExitHeads] = {}  # of the texts that were admitted
        self._arrived: list[str] = []
        self._cancelled: list[str] = []
        self._count = 0
        self.begun = time.perf_counter()

    # -- texts --------------------

    def text(
        self,
        input_ids: TokenIds,
        max_new_tokens: int = 128,
        *,
        eos_token_id: EndTokens = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_strings: StopTexts = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        name: str | None = None,
    ) -> BatchedText:
        """Return a text to `add`, its arguments checked.

        They are those of `adadecode.engine.serving.batched_engine.BatchedEngine.submit`. Any thread
        may call this, also while another one runs a step.
        """
        ids = one_sequence(input_ids)
        check_input_ids(ids, self.parts)
        prompt = ids[0].tolist()
        new_tokens = checked_new_tokens(max_new_tokens)
        sampling = Sampling.of(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        eos = checked_end_tokens(eos_token_id, lambda: self.eos, self.parts)
        own_stops = getattr(self.parts.model.generation_config, "stop_strings", None)
        criteria = self._stop_sets.of_text(stop_strings, tokenizer, own_stops)
        stops = None if criteria is None else criteria.after(prompt)
        positions = len(prompt) + new_tokens - 1  # the last token is not computed
        self.batcher.check(len(prompt), positions)
        self.parts.capacity_for(positions)
        with self._warning:  # once, however many threads call
            self.warn_of_settings(sampled=sampling is not None)
            self._warn_of_length(positions)
        design, n_layers = self.design_of_all, self.parts.n_layers

        def schedule(first_token: int) -> Schedule:  # holds no model: a request outlives the engine
            return Schedule(
                design=design,
                n_layers=n_layers,
                n_prompt=len(prompt),
                first_token=first_token,
                max_new_tokens=new_tokens,
                eos=eos,
                sampled=sampling is not None,
                stops=stops,
            )

        sequence = BatchedSequence(
            name if name is not None else "",
            n_prompt=len(prompt),
            most_positions=positions,
            n_segments=len(self.boundaries) - 1,
            make_schedule=schedule,
        )
        return BatchedText(
            prompt,
            sequence,
            selector=make_token_selector(sampling),
            seed=None if sampling is None else sampling.seed,
            arrival_s=self.now(),
        )

    def add(self, text: BatchedText) -> None:
        """Queue a text. Raises InputError where another one of its name is there."""
        if not text.name:
            text.sequence.name = f"request {self._count}"
        self._count += 1
        if text.name in self._texts:
            raise InputError(
                f"a request named {text.name!r} is being served: give another name, or none"
            )
        self.batcher.arrive(text.sequence)
        self._texts[text.name] = text
        self._arrived.append(text.name)

    def cancel(self, text: BatchedText) -> None:
        """Let a text go before its end; nothing happens where it has ended."""
        if self._texts.get(text.name) is text:
            self._forget(text.name)
            self.batcher.cancel(text.name)
            self._cancelled.append(text.name)
            text.cancelled = True

    def now(self) -> float:
        """Return the time in seconds since the decoder was made."""
        return time.perf_counter() - self.begun

    # -- steps --------------------

    def step(self) -> list[BatchedText] | None:
        """Run one segment for all texts that wait for it.

        Returns:
            The texts that were part of it; None where nothing is left to do.
        """
        begun = self.now()
        batch = self.batcher.next_batch()
        if batch is None:
            return None
        texts = [self._texts[span.name] for span in batch.spans]
        for name in batch.preempted:
            self._texts[name].rewind()
            del self._heads[name]
        with self.parts.session():
            for name in batch.admitted:
                text = self._texts[name]
                self._heads[name] = self.heads.for_text(text.prompt)
                self.model.reserve(text.sequence.most_positions)
            self._run(batch, texts)
            self.batcher.ran(batch)
            outcomes: list[tuple[str, Outcome]] = []
            while asked := self.batcher.asked(batch):
                answers = self._answers(batch.segment, asked)
                outcomes += zip((name for name, _ in asked), answers, strict=True)
                self.batcher.answer(asked, answers)
        ended = self.batcher.retire(batch)
        for name in ended:
            self._forget(name)
        now = self.now()
        for text in texts:
            if text.scheduled_s is None:
                text.scheduled_s = begun
            text.token_s += [now] * (len(text.tokens) - len(text.token_s))
        if self._record:
            self.steps.append(
                StepRecord(
                    batch=batch,
                    outcomes=in_row_order(batch, outcomes),
                    arrived=tuple(self._arrived),
                    cancelled=tuple(self._cancelled),
                    ended=ended,
                    begun_s=begun,
                    seconds=now - begun,
                )
            )
        self._arrived.clear()
        self._cancelled.clear()
        return texts

    def _forget(self, name: str) -> None:
        """Let a text go, with all that was computed for it: its request holds its tokens alone."""
        self._texts.pop(name).drop()
        self._heads.pop(name, None)

    def _run(self, batch: Batch, texts: Sequence[BatchedText]) -> None:
        """Run the segment of a batch."""
        rows = self.model.packed(
            [
                SequenceRows(
                    span.start, span.stop, tuple(text.sequence.blocks), text.sequence.n_prompt
                )
                for span, text in zip(batch.spans, texts, strict=True)
            ]
        )
        segment = batch.segment
        if segment == 0:
            tokens = [
                token
                for span, text in zip(batch.spans, texts, strict=True)
                for token in text.embedded(span.start, span.stop)
            ]
            hidden = self.model.embed(tokens, rows)
        else:
            hidden = joined([chunk for text in texts for chunk in text.take(segment)])
        first, last = self.boundaries[segment : segment + 2]
        hidden = self.model.run(first, last, hidden, rows)
        counts = [span.stop - span.start for span in batch.spans]
        for text, own in zip(texts, hidden.split(counts, 1), strict=True):
            text.wait(segment, own)

    def _answers(self, segment: int, asked: Sequence[tuple[str, Question]]) -> list[Outcome]:
        """Return the outcomes of what texts ask after a segment, all of the same kind."""
        texts = [self._texts[name] for name, _ in asked]
        works = [work for _, work in asked]
        if isinstance(works[0], Verify):
            return self._verdicts(texts, works)
        depth = self.boundaries[segment + 1]
        ask = self._scores if isinstance(works[0], Gate) else self._drafts
        found: list[Outcome] = [None] * len(asked)
        heads_of = [self._heads[name] for name, _ in asked]
        for heads in {id(one): one for one in heads_of}.values():
            own = [at for at, one in enumerate(heads_of) if one is heads]
            hidden = joined([texts[at].newest(segment) for at in own])
            for at, outcome in zip(
                own, ask(heads, depth, hidden, [(texts[at], works[at]) for at in own]), strict=True
            ):
                found[at] = outcome
        return found

    def _scores(
        self, heads: ExitHeads, depth: int, hidden: torch.Tensor, asked: Sequence[Any]
    ) -> Sequence[Outcome]:
        return self.model.scores(heads, depth, hidden)

    def _drafts(
        self,
        heads: ExitHeads,
        depth: int,
        hidden: torch.Tensor,
        asked: Sequence[tuple[BatchedText, Question]],
    ) -> Sequence[Outcome]:
        """Return what a head drafts for each row; all in one read where no text is sampled."""
        if all(text.selector.packed for text, _ in asked):
            return self.model.drafts(heads, depth, hidden)
        logits = self.model.head_logits(heads, depth, hidden)
        return [
            text.selector.draft(row, work.position)
            for (text, work), row in zip(asked, logits, strict=True)
            if isinstance(work, Check)
        ]

    def _verdicts(self, texts: Sequence[BatchedText], works: Sequence[Question]) -> list[Outcome]:
        """Return the verdicts of the last layer, by one product over all rows."""
        asked = [
            (text, work)
            for text, work in zip(texts, works, strict=True)
            if isinstance(work, Verify)
        ]
        hidden = joined([text.verified(work) for text, work in asked])
        logits = self.model.logits(hidden)
        greedy = [text.selector.packed for text in texts]
        best = logits.argmax(-1).tolist() if any(greedy) else []
        found: list[Outcome] = []
        row = 0
        for text, work in asked:
            rows = slice(row, row + work.stop - work.start)
            row = rows.stop
            if text.selector.packed:
                found.append(verify_greedily(best[rows], work))
            else:
                found.append(_sampled(text, logits[rows], work))
        return found


def _sampled(text: BatchedText, logits: torch.Tensor, work: Verify) -> Outcome:
    """Return the verdict on a sampled text; its first token is drawn like any text's."""
    selector = text.selector
    verdict = (
        Verdict(accepted=0, token=selector.first(logits[-1]))
        if text.sequence.schedule is None
        else selector.verdict(logits, work)
    )
    if isinstance(selector, Sampler):
        selector.mark()
    return verdict
