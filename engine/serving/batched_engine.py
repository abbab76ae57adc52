"""The batched engine: texts of many users, decoded at once by one thread."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
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
from adadecode.engine.serving.engine_thread import EngineThread
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

    Any thread may submit; its prompt is checked, and new stop strings are prepared, in that thread
    while texts go on. One thread of the engine does all the work, eagerly. The queue has no bound:
    a request in it holds its token ids alone, and gets blocks and heads when it is admitted.

    Close the engine, or use it in a ``with`` block. One that is forgotten is closed when it is
    collected, with a ResourceWarning: its requests are served to their ends.

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
        decoder = BatchedDecoder(
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
        self._thread = EngineThread(decoder)
        self._thread.start()
        self._uncollected = weakref.finalize(self, _close_forgotten, self._thread)
        self._uncollected.atexit = False

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
        self._thread.free_name(name)  # before anything is prepared for nothing
        text = self._thread.decoder.text(
            input_ids,
            max_new_tokens,
            eos_token_id=eos_token_id,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop_strings=stop_strings,
            tokenizer=tokenizer,
        )
        return self._thread.queue(text, name)

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
        return self._thread.decoder.design_of_all

    @property
    def free_blocks(self) -> int:
        """How many blocks of keys and values no text holds now."""
        return self._thread.decoder.batcher.pool.free

    @property
    def kv_blocks(self) -> int:
        """Blocks of keys and values in all."""
        return self._thread.decoder.batcher.pool.n_blocks

    @property
    def steps(self) -> list[StepRecord]:
        """What every step did so far, where the engine was made with ``record=True``."""
        return list(self._thread.decoder.steps)

    def now(self) -> float:
        """Return the time in seconds since the engine began, on the clock of all its records."""
        return self._thread.decoder.now()

    def clear_steps(self) -> None:
        """Forget what every step did so far. Call it while no request is being served."""
        self._thread.decoder.steps.clear()

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
        self._uncollected.detach()
        self._thread.close(cancel=cancel)
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


def _close_forgotten(thread: EngineThread) -> None:
    """End the thread of an engine that was collected before anybody closed it."""
    thread.close()
    warnings.warn(
        "a batched engine was not closed: use it in a with block, or call its close; its requests "
        "are served to their ends, and then its memory is free",
        ResourceWarning,
        stacklevel=2,
    )
