"""A load in real time: requests are submitted to a batched engine when they are to arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.serving.batched_engine import BatchedEngine
from adadecode.engine.serving.batched_request import BatchedRequest
from adadecode.sim.serving.batching.recorded_load import EngineSettings, LoadRequest, LoadRun
from adadecode.sim.serving.batching.step_record import StepRecord
from adadecode.sim.serving.request import ServedRequest

WARM_TEXTS, WARM_TOKENS = 4, 12
"""Texts, and tokens of each, that are decoded before the load begins."""

LEAD_S = 0.05
"""Seconds from the end of that to the beginning of the load."""

Progress = Callable[[int, int], None]
"""Called with how many requests have ended, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class PlannedRequest:
    """A request that is to arrive.

    Attributes:
        arrival_s: When, in seconds from the beginning of the load.
        prompt: The number of its prompt.
        max_new_tokens: The most tokens that it is answered with.
    """

    arrival_s: float
    prompt: int
    max_new_tokens: int


def serve_load(
    model: PreTrainedModel,
    heads: ExitHeads,
    settings: EngineSettings,
    prompts: Sequence[Sequence[int]],
    requests: Sequence[PlannedRequest],
    *,
    n_layers: int,
    eos: frozenset[int],
    progress: Progress | None = None,
) -> LoadRun:
    """Serve a load and return what was measured. An exception cancels all requests.

    Args:
        model: The model.
        heads: Its exit heads.
        settings: How the engine forms its batches.
        prompts: Token ids of each prompt.
        requests: The requests, in the order in which they arrive.
        n_layers: Layers of the model.
        eos: Tokens that end a text.
        progress: Called after each request.

    Raises:
        InputError: A request could never fit into the blocks, or the engine failed.
    """
    with BatchedEngine(
        model,
        heads,
        settings.design,
        **settings.limits(),
        record=True,
    ) as engine:
        _warm_up(engine, prompts, requests)
        start = engine.now() + LEAD_S
        submitted = _submit(engine, prompts, requests, start, eos)
        for done, one in enumerate(submitted, 1):
            one.result()
            if progress is not None:
                progress(done, len(submitted))
        return LoadRun(
            settings=settings,
            requests=tuple(
                LoadRequest(
                    served=_since(start, one.served()),
                    prompt=planned.prompt,
                    max_new_tokens=planned.max_new_tokens,
                )
                for planned, one in zip(requests, submitted, strict=True)
            ),
            steps=_counted_anew(engine.steps, start),
            n_layers=n_layers,
            eos=eos,
        )


def _warm_up(
    engine: BatchedEngine, prompts: Sequence[Sequence[int]], requests: Sequence[PlannedRequest]
) -> None:
    """Decode a few texts, the longest prompt among them, and forget them."""
    wanted = [prompts[one.prompt] for one in requests[:WARM_TEXTS]]
    longest = max(requests, key=lambda one: len(prompts[one.prompt]) + one.max_new_tokens)
    engine.generate([prompts[longest.prompt]], longest.max_new_tokens, eos_token_id=())
    engine.generate(wanted, WARM_TOKENS, eos_token_id=())
    engine.clear_steps()


def _submit(
    engine: BatchedEngine,
    prompts: Sequence[Sequence[int]],
    requests: Sequence[PlannedRequest],
    start: float,
    eos: frozenset[int],
) -> list[BatchedRequest]:
    """Submit every request when it is to arrive."""
    submitted = []
    for number, one in enumerate(requests):
        if (ahead := start + one.arrival_s - engine.now()) > 0:
            time.sleep(ahead)
        submitted.append(
            engine.submit(
                prompts[one.prompt],
                one.max_new_tokens,
                eos_token_id=sorted(eos),
                name=str(number),
            )
        )
    return submitted


def _since(start: float, served: ServedRequest) -> ServedRequest:
    """Return a request on a clock that begins later."""
    return replace(
        served,
        request=replace(served.request, arrival_s=served.request.arrival_s - start),
        scheduled_s=served.scheduled_s - start,
        token_s=tuple(one - start for one in served.token_s),
    )


def _counted_anew(steps: Sequence[StepRecord], start: float) -> tuple[StepRecord, ...]:
    """Return steps that are counted from 0, on a clock that begins later."""
    first = steps[0].batch.step
    return tuple(
        replace(
            one,
            batch=replace(one.batch, step=one.batch.step - first),
            begun_s=one.begun_s - start,
        )
        for one in steps
    )
