"""Threads that decode at once, and streams in turn: every text is the model's own, or refused.

``benchmarks/threads.py`` counts more of it.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design
from tests.support.models import greedy_text, random_heads, random_prompt, tiny_model
from tests.support.threads import together

NEW = 10
PROMPTS = [random_prompt(4 + 5 * number, seed=number) for number in range(3)]
OPTIONS: dict[str, Any] = {"eos_token_id": (), "gamma": 0.1}
WAYS = {
    "eager": {},
    "static": {"graphs": "static"},
    "canonical": {"numerics": "canonical"},
}


def decoder_of(model: PreTrainedModel, **options: Any) -> AdaDecoder:
    """Return a decoder whose heads are nearly always wrong, so that much is rolled back."""
    return AdaDecoder(model, random_heads(model), **options)


def texts_of(model: PreTrainedModel) -> list[list[int]]:
    """Return the model's own texts of all prompts."""
    return [greedy_text(model, prompt, NEW) for prompt in PROMPTS]


def generating(decoder: AdaDecoder, number: int) -> Callable[[], list[int]]:
    return lambda: decoder.generate(PROMPTS[number], NEW, **OPTIONS).tokens


def stream_of(decoder: AdaDecoder, number: int) -> Iterator[int]:
    return decoder.stream(PROMPTS[number], NEW, **OPTIONS)


def streaming(decoder: AdaDecoder, number: int) -> Callable[[], list[int]]:
    return lambda: list(stream_of(decoder, number))


def state_of(model: PreTrainedModel) -> tuple[Any, ...]:
    """Return what a decoder must leave as it was, also for other threads and meanwhile."""
    return (
        model.config._attn_implementation,
        model.config.num_hidden_layers,
        model.generation_config,
        model.training,
        [id(module) for module in model.modules()],
        [len(module._forward_hooks) for module in model.modules()],
        torch.backends.cuda.cudnn_sdp_enabled(),
        torch.get_default_dtype(),
        torch.is_inference_mode_enabled(),
    )


# -- threads --------------------


def test_seventy_two_texts_of_two_threads_are_the_models_own() -> None:
    """Two models in two threads, then one decoder in two; of these 55 were once another text."""
    one, two = tiny_model("llama"), tiny_model("llama", seed=1)
    own, other = texts_of(one), texts_of(two)
    first, second = decoder_of(one), decoder_of(two)
    assert together([generating(first, 0), generating(second, 1)], 18) == [[own[0], other[1]]] * 18
    assert together([generating(first, 0), generating(first, 1)], 18) == [own[:2]] * 18
    assert (texts_of(one), texts_of(two)) == (own, other)


@pytest.mark.parametrize("way", WAYS)
def test_one_decoder_in_three_threads_gives_each_its_text(way: str) -> None:
    """Whole or as a stream; what is compiled or captured is shared and used in turn."""
    model = tiny_model("llama")
    own, decoder = texts_of(model), decoder_of(model, **WAYS[way])
    works = [generating(decoder, 0), streaming(decoder, 1), streaming(decoder, 2)]
    assert together(works, 2) == [own] * 2


@pytest.mark.parametrize("way", WAYS)
def test_a_model_may_be_used_by_itself_and_by_other_decoders(way: str) -> None:
    """Its own ``generate`` in one thread, two decoders of it in two more."""
    model = tiny_model("llama")
    own = texts_of(model)
    decoders = [decoder_of(model, **WAYS[way]) for _ in range(2)]
    works = [
        generating(decoders[0], 0),
        streaming(decoders[1], 1),
        lambda: greedy_text(model, PROMPTS[2], NEW),
    ]
    assert together(works, 2) == [own] * 2


def test_a_model_may_be_trained_on_in_another_thread() -> None:
    """Its gradients are those of training alone: decoding is without any in its own thread."""
    model = tiny_model("llama")
    own, decoder = texts_of(model), decoder_of(model)
    weight = model.model.layers[0].mlp.up_proj.weight

    def gradient() -> list[float]:
        loss = model(PROMPTS[0], labels=PROMPTS[0]).loss
        (found,) = torch.autograd.grad(loss, weight)
        return found.flatten().tolist()

    wanted = gradient()
    for text, found in together([generating(decoder, 0), gradient], 4):
        assert text == own[0]
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_decoder_may_be_made_while_the_model_generates(architecture: str) -> None:
    """Taking it apart looks at a shadow; GPT-2 embeds each token by its own forward pass."""
    model = tiny_model(architecture)
    own = texts_of(model)
    works = [
        lambda: greedy_text(model, PROMPTS[0], NEW),
        lambda: decoder_of(model).generate(PROMPTS[1], NEW, **OPTIONS).tokens,
    ]
    assert together(works, 2) == [own[:2]] * 2


def test_models_of_one_config_do_not_meet() -> None:
    one, two = tiny_model("llama"), tiny_model("llama", seed=1)
    config = two.config
    for module in two.modules():
        if getattr(module, "config", None) is config:
            module.config = one.config  # type: ignore[assignment]
    own, other = texts_of(one), texts_of(two)
    works = [generating(decoder_of(one), 0), generating(decoder_of(two), 1)]
    assert together(works, 2) == [[own[0], other[1]]] * 2


def test_other_threads_see_the_model_as_it_is() -> None:
    """At every moment of taking it apart and of decoding."""
    model = tiny_model("gpt2")
    before, seen, done = state_of(model), [], threading.Event()

    def decode() -> list[int]:
        try:
            return generating(decoder_of(model), 0)()
        finally:
            done.set()

    def watch() -> list[int]:
        while not done.is_set():
            seen.append(state_of(model) == before)
        return []

    own = texts_of(model)[0]
    assert together([decode, watch]) == [[own, []]]
    assert len(seen) > 10
    assert all(seen)
    assert state_of(model) == before


def test_sampled_texts_of_threads_are_those_of_their_seeds() -> None:
    """Each text has a stream of numbers of its own."""
    decoder = decoder_of(tiny_model("llama"))

    def sampling(seed: int) -> Callable[[], list[int]]:
        options = {**OPTIONS, "temperature": 1.0, "seed": seed}
        return lambda: decoder.generate(PROMPTS[0], NEW, **options).tokens

    alone = [sampling(seed)() for seed in (1, 2)]
    assert together([sampling(1), sampling(2)], 2) == [alone] * 2


def test_coroutines_may_wait_for_texts_of_one_decoder() -> None:
    model = tiny_model("llama")
    decoder = decoder_of(model)

    async def texts() -> list[list[int]]:
        works = [generating(decoder, 0), streaming(decoder, 1), generating(decoder, 2)]
        return list(await asyncio.gather(*(asyncio.to_thread(work) for work in works)))

    assert asyncio.run(texts()) == texts_of(model)


# -- streams --------------------


def test_streams_in_turn_give_their_texts_with_others_in_between() -> None:
    """Whole texts of the decoder, another decoder and the model itself among them."""
    model = tiny_model("llama")
    own, decoder, other = texts_of(model), decoder_of(model), decoder_of(model)
    streams = [stream_of(decoder, number) for number in (0, 1)]
    taken: list[list[int]] = [[], []]
    between = [
        generating(decoder, 2),
        generating(other, 2),
        lambda: greedy_text(model, PROMPTS[2], NEW),
    ]
    for index in range(NEW):
        for stream, tokens in zip(streams, taken, strict=True):
            tokens.append(next(stream))
        assert between[index % 3]() == own[2]
    assert taken == own[:2]
    assert [next(stream, None) for stream in streams] == [None, None]


def test_a_stream_may_go_on_in_another_thread() -> None:
    """Each token is taken by a thread of its own."""
    model = tiny_model("llama")
    stream, taken = stream_of(decoder_of(model), 0), []
    for _ in range(NEW):
        thread = threading.Thread(target=lambda: taken.append(next(stream)))
        thread.start()
        thread.join()
    assert taken == texts_of(model)[0]


def test_streams_left_half_way_harm_nothing_and_lend_their_buffers() -> None:
    """Closed, dropped, dropped in another thread, or left by an error in the loop."""
    model = tiny_model("llama")
    own, decoder = texts_of(model), decoder_of(model)
    allocated = []
    make, decoder.parts.buffers = decoder.parts.buffers, lambda n: (allocated.append(n), make(n))[1]

    def begun() -> Iterator[int]:
        stream = stream_of(decoder, 0)
        assert [next(stream) for _ in range(3)] == own[0][:3]
        return stream

    begun().close()  # type: ignore[attr-defined]
    del_here = begun()
    del del_here
    kept = [begun()]
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join()
    with pytest.raises(TypeError, match="not iterable"):
        list(chain.from_iterable(stream_of(decoder, 0)))  # type: ignore[arg-type]
    gc.collect()
    assert [work() for work in (generating(decoder, 1), streaming(decoder, 2))] == own[1:]
    # the shortest fits into what the model was tested with, of the others each is made once
    assert [n for n in allocated if n] == [len(p[0]) + NEW - 1 | 1 for p in PROMPTS[1:]]


def test_a_decoding_whose_buffers_another_text_took_is_refused() -> None:
    """It would go on with the other text's keys and values."""
    model = tiny_model("llama")
    decoder = decoder_of(model)
    design = Design.of("vanilla")
    first = decoder.start(PROMPTS[0], design, max_new_tokens=NEW, eos_token_id=())
    second = decoder.start(PROMPTS[0], design, max_new_tokens=NEW, eos_token_id=())
    with pytest.raises(InputError, match="began another text in place of one that had not ended"):
        first.run_to_end()
    second.run_to_end()
    assert second.schedule.tokens == texts_of(model)[0]


# -- errors half-way --------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, torch.OutOfMemoryError])
@pytest.mark.parametrize("calls", [0, 3])
def test_an_error_within_a_layer_leaves_model_and_decoder_as_they_were(
    way: str, error: type[BaseException], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the prompt and later on."""
    model = tiny_model("llama")
    own, decoder, before = texts_of(model), decoder_of(model, **WAYS[way]), state_of(model)
    mlp = model.model.layers[4].mlp
    whole, left = mlp.forward, iter(range(calls))

    def failing(*args: Any) -> Any:
        if next(left, None) is None:
            raise error("broke")
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(mlp, "forward", failing)
        with pytest.raises(error, match="broke"):
            generating(decoder, 0)()
    assert state_of(model) == before
    assert texts_of(model) == own
    assert [generating(decoder, 0)(), streaming(decoder, 1)()] == own[:2]


def test_an_error_while_a_model_is_taken_apart_leaves_it_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("gpt2")
    own, before = texts_of(model), state_of(model)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    for step in ("_find_tail", "_find_finish", "_record_calls", "logits"):
        with monkeypatch.context() as patch:
            patch.setattr(SegmentedModel, step, interrupted)
            with pytest.raises(KeyboardInterrupt):
                decoder_of(model)
        assert state_of(model) == before
    assert texts_of(model) == own


def test_an_error_in_one_thread_does_not_reach_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("llama")
    own, decoder = texts_of(model), decoder_of(model)
    embed = decoder.parts.embed_one
    breaking = threading.local()

    def embedded(token: int, start: int) -> torch.Tensor:
        if getattr(breaking, "here", False):
            raise ZeroDivisionError
        return embed(token, start)

    monkeypatch.setattr(decoder.parts, "embed_one", embedded)

    def broken() -> list[int]:
        breaking.here = True
        with pytest.raises(ZeroDivisionError):
            generating(decoder, 0)()
        breaking.here = False
        return []

    assert (
        together([broken, streaming(decoder, 1), generating(decoder, 2)], 3)
        == [[[], own[1], own[2]]] * 3
    )
