"""The batched engine: texts of many users, decoded at once by one thread."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Self

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.decoding.decoder import Generation
from adadecode.engine.decoding.stop_strings import StopTexts
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.end_tokens import EndTokens
from adadecode.engine.serving.arguments import TokenIds
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.engine.serving.batched_request import BatchedRequest
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design
from adadecode.sim.serving.batching.batcher import (
    DEFAULT_MAX_BATCHED_TOKENS,
    DEFAULT_MAX_NUM_SEQS,
)
from adadecode.sim.serving.batching.block_pool import DEFAULT_BLOCK_SIZE
from adadecode.sim.serving.batching.segment_order import DEFAULT_AGE_LIMIT
from adadecode.sim.serving.batching.step_record import StepRecord, event_table, work_table


class BatchedEngine:
    """Decodes the texts of many users at once, with AdaDecode and without loss.

    Sequences at different depths share one model: each step runs one segment for all that wait for
    it, and asks heads and the last layer for all of them by one product. A text is admitted and
    leaves at any step, and prompts are computed in chunks between the tokens of others. Keys and
    values lie in blocks; where these run out, the most recently admitted text gives up its own and
    is computed again later. Greedy texts are those that each prompt has alone, but for ties in the
    last bits, which a batch may round otherwise; sampled ones are those of their seed alone.

    Any thread may submit. One thread of the engine does all the work, eagerly.

    Example:
        ::

            from adadecode.engine import BatchedEngine, load_demo

            demo = load_demo()
            with BatchedEngine(demo.model, demo.heads, max_num_seqs=8) as engine:
                request = engine.submit(ids, max_new_tokens=64)
                for token in request:
                    ...
                texts = engine.generate(prompts, max_new_tokens=64)

    Args:
        model: A decoder-only model of ``transformers`` with a language-modelling head. It is put
            into evaluation mode.
        heads: Its exit heads. Without any, the engine decodes as vanilla.
        design: How to decode every text; by default AdaDecode with all heads. Make one with
            ``Design.of("adadecode", gamma=0.75, placement=[4, 8])`` or ``Design.of("vanilla")``.
        max_num_seqs: The most texts that run at once; others are queued.
        kv_blocks: Blocks of keys and values; by default as many as ``max_num_seqs`` texts of 2,048
            positions take, or of as many as the model has.
        block_size: Positions of a block.
        max_batched_tokens: The most positions of a step. Prompts are cut to fill it.
        order: Which segment runs next: ``lockstep``, ``deepest`` or ``largest``.
        age_limit: The most steps that a text waits for its segment under ``largest``.
        record: Whether `steps` keeps what every step did.

    Raises:
        InputError: ``model`` is no model, a limit is no whole number from 1 on, or the blocks do
            not fit into memory.
        DesignError: The design or the order makes no sense.
        HeadsError: The heads belong to another model, or the design asks one that is not there.
        UnsupportedModel: The model cannot be taken apart exactly; the message says why.
    """

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
        self._decoder = BatchedDecoder(
            model,
            heads,
            design,
            max_num_seqs=max_num_seqs,
            kv_blocks=kv_blocks,
            block_size=block_size,
            max_batched_tokens=max_batched_tokens,
            order=order,
            age_limit=age_limit,
            record=record,
        )
        self._news = Condition()
        self._submitted: list[BatchedRequest] = []
        self._leaving: list[BatchedRequest] = []
        self._requests: dict[str, BatchedRequest] = {}
        self._count = 0
        self._closing = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._serve, name="adadecode batched engine", daemon=True)
        self._thread.start()

    # -- for users --------------------

    def submit(
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
    ) -> BatchedRequest:
        """Queue a prompt and return its request at once.

        Args:
            input_ids: Token ids of one prompt: a list, or a tensor ``(n,)`` or ``(1, n)``.
            max_new_tokens: The most tokens to add, 1 or more.
            eos_token_id: The tokens that end the text, as of `AdaDecoder.generate`.
            temperature: 0 for a greedy text; above it the text is sampled.
            top_k: As of `AdaDecoder.generate`.
            top_p: As of `AdaDecoder.generate`.
            seed: As of `AdaDecoder.generate`.
            stop_strings: As of `AdaDecoder.generate`.
            tokenizer: As of `AdaDecoder.generate`.
            name: Its name in the record of steps; ``request 0`` and so on by default.

        Raises:
            InputError: The arguments make no sense, the text could never fit into the blocks, its
                name is taken, or the engine is closed.
            DesignError: ``max_new_tokens`` is no whole number from 1 on.
            SamplingError: ``temperature``, ``top_k``, ``top_p`` or ``seed`` makes no sense.
        """
        with self._news:  # heads and criteria of stop strings are made one at a time
            self._check_open()
            given = f"request {self._count}" if name is None else str(name)
            if given in self._requests:
                raise InputError(
                    f"a request named {given!r} is being served: give another name, or none"
                )
            text = self._decoder.text(
                input_ids,
                max_new_tokens,
                eos_token_id=eos_token_id,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                stop_strings=stop_strings,
                tokenizer=tokenizer,
                name=given,
            )
            request = BatchedRequest(text, self._cancel)
            self._count += 1
            self._requests[given] = request
            self._submitted.append(request)
            self._news.notify_all()
        return request

    def generate(
        self, prompts: Sequence[TokenIds], max_new_tokens: int = 128, **options: Any
    ) -> list[Generation]:
        """Decode several prompts and return their texts, in the order of the prompts.

        Args:
            prompts: Token ids of each prompt.
            max_new_tokens: The most tokens to add to each.
            options: As of `submit`, but no name; a seed is the same for all.

        Raises:
            InputError: See `submit`; none of the prompts is left behind then.
        """
        requests: list[BatchedRequest] = []
        try:
            requests.extend(self.submit(one, max_new_tokens, **options) for one in prompts)
            return [request.result() for request in requests]
        except BaseException:
            for request in requests:
                request.cancel()
            raise

    @property
    def design(self) -> Design:
        """The design of every text."""
        return self._decoder.design_of_all

    @property
    def free_blocks(self) -> int:
        """How many blocks of keys and values no text holds now."""
        return self._decoder.batcher.pool.free

    @property
    def kv_blocks(self) -> int:
        """Blocks of keys and values in all."""
        return self._decoder.batcher.pool.n_blocks

    @property
    def steps(self) -> list[StepRecord]:
        """What every step did so far, where the engine was made with ``record=True``."""
        return list(self._decoder.steps)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return `steps` as the tables ``work`` and ``events``.

        Their columns are in `adadecode.sim.serving.batching.step_record`.
        """
        steps = self.steps
        return {"work": work_table(steps), "events": event_table(steps)}

    def close(self, *, cancel: bool = False) -> None:
        """Take no more requests, and return once those that are there have ended.

        Args:
            cancel: Whether they are cancelled.
        """
        with self._news:
            self._closing = True
            if cancel:
                self._leaving += self._requests.values()
            self._news.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return the engine; `close` it when the block is left."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for all requests, or cancel them where an exception leaves the block."""
        self.close(cancel=kind is not None)

    # -- the thread --------------------

    def _check_open(self) -> None:
        """Raise InputError where nothing more is taken."""
        if self._error is not None:
            raise InputError(
                f"the engine failed ({type(self._error).__name__}: {self._error}): make another one"
            ) from self._error
        if self._closing:
            raise InputError("the engine is closed: submit within its with block")

    def _cancel(self, request: BatchedRequest) -> None:
        with self._news:
            self._leaving.append(request)
            self._news.notify_all()

    def _serve(self) -> None:
        """Do all the work, until the engine is closed and nothing is left."""
        try:
            while self._take_news():
                for text in self._decoder.step() or ():
                    self._show(text.name)
        except BaseException as error:  # noqa: BLE001 -- whoever waits for a text gets it
            with self._news:
                self._error = error
                for request in self._requests.values():
                    request.update(over=True, error=error)
                self._requests.clear()

    def _take_news(self) -> bool:
        """Take what was submitted and cancelled, and wait where there is nothing to do.

        Returns:
            Whether there is, or may be, something to do.
        """
        with self._news:
            while True:
                submitted, self._submitted = self._submitted, []
                leaving, self._leaving = self._leaving, []
                for request in submitted:
                    self._decoder.add(request.text)
                for request in leaving:
                    self._decoder.cancel(request.text)
                    if self._requests.get(request.name) is request:
                        del self._requests[request.name]
                        request.update(over=True)
                if not self._decoder.batcher.idle:
                    return True
                if self._closing:
                    return False
                self._news.wait_for(lambda: self._submitted or self._leaving or self._closing)

    def _show(self, name: str) -> None:
        """Show what a text has become; let its request go where it has ended."""
        with self._news:
            request = self._requests[name]
            over = request.text.sequence.done
            if over:
                del self._requests[name]
        request.update(over=over)
