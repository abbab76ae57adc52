"""Texts of a batched decoder are those that each prompt has alone, whatever runs beside them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from transformers import PreTrainedTokenizerBase

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.stop_strings import StopCriteria
from adadecode.engine.demo import load_demo
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.serving import stop_sets
from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.profiles.errors import DesignError, HeadsError, InputError
from adadecode.sim.core.design import Design
from adadecode.sim.serving.batching.segment_order import ORDERS
from tests.support.batched_patterns import DESIGNS, Arrivals, Prompted, TinyServer, arrivals
from tests.support.models import random_heads, random_prompt, tiny_model
from tests.support.property_tests import examples
from tests.support.quick import quick_or_slow

CROWDED = Arrivals(
    design="sure heads",
    requests=tuple(Prompted(step=3 * k, n_prompt=5 + 6 * k, seed=k, budget=14) for k in range(5)),
    order="largest",
    kv_blocks=16,
    max_num_seqs=4,
    max_batched_tokens=30,
)


@cache
def server(dtype: torch.dtype) -> TinyServer:
    return TinyServer("llama", dtype)


@pytest.mark.slow
@examples(200)
@given(arrivals())
def test_each_text_of_200_patterns_is_that_of_its_prompt_alone(pattern: Arrivals) -> None:
    """In FP32, over random arrivals, ends, rejections, admissions and preemptions in mid-round."""
    check_texts(pattern)


@examples(15)
@given(arrivals())
def test_each_text_is_that_of_its_prompt_alone(pattern: Arrivals) -> None:
    """The same over a few patterns."""
    check_texts(pattern)


def check_texts(pattern: Arrivals) -> None:
    tiny = server(torch.float32)
    decoder = tiny.decoder(pattern)
    texts = tiny.serve(pattern, decoder)
    assert list(tiny.differing(pattern, texts)) == []
    pool = decoder.batcher.pool
    assert pool.free == pool.n_blocks


@pytest.mark.parametrize(
    ("design", "order"),
    [
        quick_or_slow(
            (design, order),
            quick=[("sure heads", "largest"), ("gates", "deepest"), ("fixed", "lockstep")],
        )
        for design in DESIGNS
        for order in ORDERS
    ],
)
def test_little_memory_and_many_depths_change_no_token(design: str, order: str) -> None:
    """In FP64, where nothing needs explaining."""
    tiny = TinyServer("llama", torch.float64, eos=())
    pattern = Arrivals(**{**vars(CROWDED), "design": design, "order": order})
    decoder = tiny.decoder(pattern)
    texts = tiny.serve(pattern, decoder)
    assert [text.tokens for text in texts] == [
        tiny.alone(design, one.n_prompt, one.seed, one.budget) for one in pattern.requests
    ]
    preempted = [name for step in decoder.steps for name in step.batch.preempted]
    assert preempted
    assert decoder.batcher.pool.free == CROWDED.kv_blocks


def test_a_text_by_itself_has_the_rounds_of_a_decoder() -> None:
    """Nothing is padded there, so even confidences have the same bits."""
    tiny = server(torch.float32)
    design = {"gamma": 0.2, "placement": (1, 3, 5)}
    decoder = BatchedDecoder(tiny.model, tiny.heads, Design.of(**design), record=True)
    text = decoder.text(random_prompt(20, 3), 24, eos_token_id=())
    decoder.add(text)
    while decoder.step() is not None:
        pass
    alone = AdaDecoder(tiny.model, tiny.heads).generate(
        random_prompt(20, 3), 24, eos_token_id=(), **design
    )
    assert text.tokens == alone.tokens
    schedule = text.sequence.schedule
    assert schedule is not None
    assert schedule.rounds == alone.rounds
    assert any(done.exits for done in alone.rounds)


def test_sampled_texts_are_those_of_their_seed_alone() -> None:
    """Also where one is preempted in mid-round: what it drew there is drawn again."""
    model = tiny_model("llama", torch.float64)
    heads = random_heads(model, [2, 4], scale=0.5)
    options: dict[str, Any] = {"temperature": 0.8, "top_k": 20, "eos_token_id": ()}
    design = {"gamma": 0.2, "placement": (2, 4)}
    decoder = BatchedDecoder(
        model, heads, Design.of(**design), max_num_seqs=4, kv_blocks=18, block_size=4
    )
    texts = []
    for seed in range(5):
        text = decoder.text(random_prompt(4 + seed, seed), 20, **options, seed=seed or None)
        decoder.add(text)
        texts.append(text)
    while decoder.step() is not None:
        pass
    assert sum(text.sequence.preemptions for text in texts) > 0
    alone = AdaDecoder(model, heads)
    for number, text in enumerate(texts):
        wanted = alone.generate(
            random_prompt(4 + number, number), 20, **options, **design, seed=text.seed
        )
        assert text.tokens == wanted.tokens


def test_greedy_and_sampled_texts_share_a_batch() -> None:
    model = tiny_model("llama", torch.float64)
    heads = random_heads(model, [2, 4], scale=0.5)
    decoder = BatchedDecoder(model, heads, Design.of(gamma=0.2, placement=(2, 4)))
    greedy = decoder.text(random_prompt(9), 12, eos_token_id=())
    sampled = decoder.text(random_prompt(7), 12, eos_token_id=(), temperature=1.0, seed=3)
    decoder.add(greedy)
    decoder.add(sampled)
    while decoder.step() is not None:
        pass
    alone = AdaDecoder(model, heads)
    options: dict[str, Any] = {"gamma": 0.2, "placement": (2, 4), "eos_token_id": ()}
    assert greedy.tokens == alone.generate(random_prompt(9), 12, **options).tokens
    assert (
        sampled.tokens
        == alone.generate(random_prompt(7), 12, temperature=1.0, seed=3, **options).tokens
    )


def test_heads_of_each_prompt_are_its_own() -> None:
    """A shortlist that takes in the prompt's tokens is another one for each text."""
    model = tiny_model("llama", torch.float64)
    heads = random_heads(model, [2, 4], scale=0.5).shaped(model, shortlist=40, prompt=True)
    decoder = BatchedDecoder(model, heads, Design.of(gamma=0.0, placement=(2, 4)))
    texts = []
    for number in range(3):
        text = decoder.text(random_prompt(6 + number, number), 14, eos_token_id=())
        decoder.add(text)
        texts.append(text)
    while decoder.step() is not None:
        pass
    alone = AdaDecoder(model, heads)
    for number, text in enumerate(texts):
        wanted = alone.generate(
            random_prompt(6 + number, number), 14, gamma=0.0, placement=(2, 4), eos_token_id=()
        )
        assert text.tokens == wanted.tokens
        assert text.sequence.schedule is not None
        assert text.sequence.schedule.rounds == wanted.rounds


def test_rows_of_a_prompt_are_made_when_it_is_admitted_and_go_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long the queue, it holds token ids alone."""
    made: list[int] = []
    for_text = ExitHeads.for_text
    monkeypatch.setattr(
        ExitHeads, "for_text", lambda self, ids: made.append(len(ids)) or for_text(self, ids)
    )
    model = tiny_model("llama", torch.float64)
    heads = random_heads(model, [2, 4], scale=0.5).shaped(model, shortlist=40, prompt=True)
    decoder = BatchedDecoder(model, heads, Design.of(gamma=0.0, placement=(2, 4)), max_num_seqs=1)
    texts = [decoder.text(random_prompt(6 + n, n), 8, eos_token_id=()) for n in range(3)]
    for text in texts:
        decoder.add(text)
    assert made == []
    decoder.step()
    assert made == [6]
    decoder.cancel(texts[2])
    while decoder.step() is not None:
        assert len(decoder._heads) <= 1
    assert made == [6, 7]
    assert decoder._heads == {}
    assert not any(chunks for text in texts for chunks in text._waiting)


def test_sets_of_stop_strings_in_turn_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ...]] = []

    class Counted(StopCriteria):
        def __init__(self, strings: tuple[str, ...], tokenizer: PreTrainedTokenizerBase) -> None:
            made.append(strings)
            super().__init__(strings, tokenizer)

    monkeypatch.setattr(stop_sets, "StopCriteria", Counted)
    tokenizer, sets = load_demo().tokenizer, stop_sets.StopSets()
    for _ in range(3):
        for strings in ("a", "b"):
            found = sets.of_text(strings, tokenizer, None)
            assert found is not None
            assert found.strings == (strings,)
    assert made == [("a",), ("b",)]
    for number in range(stop_sets.MOST_SETS - 1):
        sets.of_text(str(number), tokenizer, None)
    sets.of_text("b", tokenizer, None)
    assert len(made) == stop_sets.MOST_SETS + 1  # the one used last was kept
    sets.of_text("a", tokenizer, None)
    assert made[-1] == ("a",)


def test_times_of_a_text_rise_and_several_tokens_may_come_at_once() -> None:
    tiny = TinyServer("llama", torch.float64, eos=())
    decoder = tiny.decoder(CROWDED)
    texts = tiny.serve(CROWDED, decoder)
    for text in texts:
        served = text.served()
        assert served.request.arrival_s <= served.scheduled_s <= served.token_s[0]
        assert list(served.token_s) == sorted(served.token_s)
        assert len(served.token_s) == len(text.tokens) == served.request.n_output
        assert served.preemptions == text.sequence.preemptions
    assert sum(step.seconds for step in decoder.steps) <= decoder.now()
    begun = [step.begun_s for step in decoder.steps]
    assert begun == sorted(begun)


def test_a_cancelled_text_leaves_its_blocks() -> None:
    tiny = server(torch.float32)
    decoder = BatchedDecoder(tiny.model, tiny.heads, kv_blocks=8, block_size=4, max_num_seqs=1)
    first = decoder.text(random_prompt(9), 20, eos_token_id=())
    second = decoder.text(random_prompt(8), 4, eos_token_id=())
    decoder.add(first)
    decoder.add(second)
    for _ in range(12):
        decoder.step()
    assert decoder.batcher.pool.free < 8
    decoder.cancel(first)
    while decoder.step() is not None:
        pass
    assert first.cancelled
    assert len(second.tokens) == 4
    assert decoder.batcher.pool.free == 8


# -- what is refused --------------------


def test_a_text_that_never_fits_is_refused_at_once() -> None:
    tiny = server(torch.float32)
    decoder = BatchedDecoder(tiny.model, tiny.heads, kv_blocks=4, block_size=4)
    with pytest.raises(InputError, match="give more kv_blocks"):
        decoder.text(random_prompt(10), 8)
    assert decoder.text(random_prompt(10), 7).sequence.most_positions == 16


def test_blocks_beyond_the_memory_are_refused() -> None:
    tiny = server(torch.float32)
    with pytest.raises(InputError, match="give kv_blocks, at most"):
        BatchedDecoder(tiny.model, tiny.heads, kv_blocks=10**12)


def test_a_design_of_another_kind_is_refused() -> None:
    tiny = server(torch.float32)
    with pytest.raises(DesignError, match=r"Design\.of"):
        BatchedDecoder(tiny.model, tiny.heads, "adadecode")  # type: ignore[arg-type]
    with pytest.raises(HeadsError):
        BatchedDecoder(tiny.model, None, Design.of(placement=(3,)))
    with pytest.raises(DesignError, match="must know the text"):
        BatchedDecoder(tiny.model, tiny.heads, Design.of("oracle", placement=(3,)))


@pytest.mark.parametrize("ids", [[], "text", [1.5], [[1, 2]], None, torch.zeros((2, 3)).long()])
def test_what_is_no_prompt_is_refused(ids: object) -> None:
    tiny = server(torch.float32)
    decoder = BatchedDecoder(tiny.model, tiny.heads)
    with pytest.raises(InputError, match="wanted the input ids"):
        decoder.text(ids)  # type: ignore[arg-type]


def test_a_list_and_a_row_are_prompts_too() -> None:
    tiny = server(torch.float32)
    decoder = BatchedDecoder(tiny.model, tiny.heads)
    row = random_prompt(5)
    for prompt in (row, row[0], row[0].tolist()):
        assert decoder.text(prompt, 8).prompt == row[0].tolist()


def test_two_texts_of_one_name_are_refused() -> None:
    tiny = server(torch.float32)
    decoder = BatchedDecoder(tiny.model, tiny.heads)
    decoder.add(decoder.text(random_prompt(5), 8, name="a"))
    with pytest.raises(InputError, match="another name"):
        decoder.add(decoder.text(random_prompt(5), 8, name="a"))
