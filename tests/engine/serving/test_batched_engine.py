"""The engine's thread: who submits, waits, cancels and fails."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.stop_strings import StopCriteria, StopTexts
from adadecode.engine.serving.batched_engine import BatchedEngine
from adadecode.engine.serving.stop_sets import StopSets
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design
from adadecode.sim.serving.batching.step_record import steps_of
from tests.support.models import random_heads, random_prompt, tiny_model
from tests.support.threads import together

NEW = 12
DESIGN = Design.of(gamma=0.2, placement=(2, 4))
MODEL = tiny_model("llama", torch.float64)
HEADS = random_heads(MODEL, [2, 4], scale=0.5)
PROMPTS = [random_prompt(4 + 5 * number, number) for number in range(6)]


@pytest.fixture
def engine() -> Iterator[BatchedEngine]:
    with BatchedEngine(MODEL, HEADS, DESIGN, max_num_seqs=4, record=True) as made:
        yield made


def alone(number: int) -> list[int]:
    decoder = AdaDecoder(MODEL, HEADS)
    return decoder.generate(PROMPTS[number], NEW, gamma=0.2, eos_token_id=()).tokens


def test_tokens_come_one_after_the_other(engine: BatchedEngine) -> None:
    request = engine.submit(PROMPTS[2], max_new_tokens=NEW, eos_token_id=())
    assert list(request) == alone(2)
    assert list(request) == request.result().tokens
    assert request.done
    assert not request.cancelled
    assert sum(done.committed for done in request.result().rounds) == NEW - 1
    assert request.served().request.n_output == NEW


def test_times_are_asked_of_a_request_that_has_ended_with_a_token(engine: BatchedEngine) -> None:
    long = engine.submit(PROMPTS[0], 100, eos_token_id=(), name="long")
    with pytest.raises(InputError, match=r"'long', which is still being served: call its result"):
        long.served()
    next(iter(long))
    long.cancel()
    long.result(60)
    assert long.served().request.n_output == len(long.result().tokens)


def test_a_request_cancelled_before_its_first_token_has_no_times() -> None:
    with BatchedEngine(MODEL, HEADS, DESIGN, max_num_seqs=1) as engine:
        first = engine.submit(PROMPTS[0], 100, eos_token_id=())
        queued = engine.submit(PROMPTS[1], 4, name="queued")
        queued.cancel()
        assert queued.result(60).tokens == []
        first.cancel()
        with pytest.raises(InputError, match="'queued', which was cancelled before its first"):
            queued.served()


def test_texts_go_on_while_another_is_prepared(
    engine: BatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop strings of a large vocabulary take long to prepare."""
    waits, may_go = threading.Event(), threading.Event()
    prepare = StopSets.of_text

    def slowly(self: StopSets, strings: StopTexts, *others: Any) -> StopCriteria | None:
        if strings == ():
            waits.set()
            assert may_go.wait(60)
        return prepare(self, strings, *others)

    monkeypatch.setattr(StopSets, "of_text", slowly)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(engine.submit, PROMPTS[1], NEW, eos_token_id=(), stop_strings=())
        try:
            assert waits.wait(60)
            with ThreadPoolExecutor(1) as other:
                quick = other.submit(engine.submit, PROMPTS[2], NEW, eos_token_id=())
                try:
                    assert quick.result(10).result(10).tokens == alone(2)
                finally:
                    may_go.set()
        finally:
            may_go.set()
        assert slow.result(60).result(60).tokens == alone(1)


def test_many_prompts_come_back_in_their_order(engine: BatchedEngine) -> None:
    texts = engine.generate(PROMPTS, NEW, eos_token_id=())
    assert [text.tokens for text in texts] == [alone(number) for number in range(len(PROMPTS))]
    assert engine.free_blocks == engine.kv_blocks


def test_threads_submit_at_once(engine: BatchedEngine) -> None:
    def stream(number: int) -> list[int]:
        return list(engine.submit(PROMPTS[number], NEW, eos_token_id=()))

    works = [partial(stream, number) for number in range(len(PROMPTS))]
    wanted = [alone(number) for number in range(len(PROMPTS))]
    assert together(works, rounds=2) == [wanted, wanted]


def test_leaving_the_block_waits_for_what_was_submitted() -> None:
    with BatchedEngine(MODEL, HEADS, DESIGN) as engine:
        request = engine.submit(PROMPTS[0], NEW, eos_token_id=())
    assert request.done
    assert request.result().tokens == alone(0)
    with pytest.raises(InputError, match="the engine is closed"):
        engine.submit(PROMPTS[0])


def test_an_exception_in_the_block_cancels() -> None:
    def left() -> None:
        with BatchedEngine(MODEL, HEADS, DESIGN) as engine:
            requests.append(engine.submit(PROMPTS[0], 90, eos_token_id=()))
            raise KeyError

    requests = []
    with pytest.raises(KeyError):
        left()
    (request,) = requests
    assert request.done
    tokens = request.result().tokens
    assert request.cancelled or len(tokens) == 90


def test_a_cancelled_request_ends_and_others_go_on(engine: BatchedEngine) -> None:
    long = engine.submit(PROMPTS[0], 100, eos_token_id=())
    other = engine.submit(PROMPTS[1], NEW, eos_token_id=())
    first = next(iter(long))
    long.cancel()
    tokens = long.result(timeout=60).tokens
    assert tokens[0] == first
    assert other.result(timeout=60).tokens == alone(1)
    long.cancel()  # once more changes nothing
    assert engine.submit(PROMPTS[2], NEW, eos_token_id=()).result(60).tokens == alone(2)


def test_waiting_for_a_result_has_an_end(engine: BatchedEngine) -> None:
    request = engine.submit(PROMPTS[0], 100, eos_token_id=())
    with pytest.raises(TimeoutError, match="has not ended"):
        request.result(timeout=0.0)
    request.cancel()


def test_a_failure_reaches_everybody_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = BatchedEngine(MODEL, HEADS, DESIGN)

    def fail() -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(engine._thread.decoder, "step", fail)
    request = engine.submit(PROMPTS[0], NEW)
    with pytest.raises(RuntimeError, match="the device is lost"):
        list(request)
    with pytest.raises(RuntimeError, match="the device is lost"):
        request.result()
    with pytest.raises(InputError, match="the engine failed"):
        engine.submit(PROMPTS[0])
    engine.close()


def test_one_bad_prompt_of_several_leaves_none_behind(engine: BatchedEngine) -> None:
    with pytest.raises(InputError):
        engine.generate([PROMPTS[0], [10**6]], 100)
    assert engine.generate([PROMPTS[1]], NEW, eos_token_id=())[0].tokens == alone(1)


def test_names_are_taken_once_at_a_time(engine: BatchedEngine) -> None:
    request = engine.submit(PROMPTS[0], 100, eos_token_id=(), name="chat")
    with pytest.raises(InputError, match="another name"):
        engine.submit(PROMPTS[0], name="chat")
    request.cancel()
    request.result()
    again = engine.submit(PROMPTS[0], NEW, eos_token_id=(), name="chat")
    assert again.result().tokens == alone(0)


def test_the_record_is_a_table(engine: BatchedEngine) -> None:
    engine.generate(PROMPTS[:3], NEW, eos_token_id=())
    engine.close()
    tables = engine.tables()
    assert steps_of(tables["work"], tables["events"]) == engine.steps
    assert set(tables["events"]["request"]) == {"request 0", "request 1", "request 2"}
    assert tables["work"]["stop"].max() == PROMPTS[2].shape[1] + NEW - 1


def test_nothing_is_kept_of_steps_unless_it_is_asked_for() -> None:
    with BatchedEngine(MODEL, HEADS, DESIGN) as engine:
        engine.generate(PROMPTS[:1], NEW)
    assert engine.steps == []


def test_the_thread_ends_with_the_engine() -> None:
    before = threading.active_count()
    engine = BatchedEngine(MODEL, HEADS, DESIGN)
    assert threading.active_count() == before + 1
    engine.close()
    engine.close()
    assert threading.active_count() == before


def test_an_engine_that_nobody_holds_is_collected() -> None:
    """Its requests end as they would, and whoever still holds one holds no model by it."""
    before = threading.active_count()
    engine = BatchedEngine(MODEL, HEADS, DESIGN)
    request = engine.submit(PROMPTS[0], NEW, eos_token_id=())
    decoder = weakref.ref(engine._thread.decoder)
    with pytest.warns(ResourceWarning, match="was not closed: use it in a with block"):
        del engine
    assert request.result(60).tokens == alone(0)
    request.cancel()
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.collect()
    assert decoder() is None
    assert threading.active_count() == before
    assert request.served().request.n_output == NEW


def test_an_idle_engine_that_nobody_holds_is_collected_too() -> None:
    engine = BatchedEngine(MODEL, HEADS, DESIGN)
    thread = engine._thread
    with pytest.warns(ResourceWarning):
        del engine
    thread.join()
