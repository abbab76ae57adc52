"""What Python may ask of the decoder; any argument that makes no sense is refused in a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, LlamaConfig, LlamaForCausalLM

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model import segmented_model
from adadecode.profiles.errors import DesignError, HeadsError, InputError, UnsupportedModel
from tests.support.models import MAX_POSITIONS, VOCABULARY, greedy_text, random_prompt, tiny_model

PROMPT = random_prompt(5)


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama")
    return AdaDecoder(model, ExitHeads.identity(model, (2, 4)))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3], "wanted the input ids as a tensor of integers .*, got a list: make one with"),
        ("a text", "got a str: make one with torch.tensor"),
        ({"input_ids": PROMPT}, r"got a dict: give its entries by name, as generate\(\*\*inputs\)"),
        (torch.ones((1, 3)), "got a tensor of torch.float32"),
        (torch.ones((1, 3), dtype=torch.bool), "got a tensor of torch.bool"),
        (PROMPT[0], r"\(1, n\) with n >= 1, got \(5,\): decode one prompt at a time"),
        (PROMPT.repeat(2, 1), r"got \(2, 5\): decode one prompt"),
        (PROMPT[:, :0], r"got \(1, 0\)"),
        (PROMPT - 99, f"outside the model's {VOCABULARY} embeddings: use the model's own"),
    ],
)
def test_what_is_no_text_is_refused(decoder: AdaDecoder, ids: Any, message: str) -> None:
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(InputError, match=message):
            ask(ids, 8, policy="vanilla")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": "8"}, "wanted max_new_tokens as a whole number, got '8': give an int"),
        ({"max_new_tokens": 8.0}, "got 8.0"),
        ({"max_new_tokens": True}, "got True"),
        ({"max_new_tokens": np.float64(8.0)}, r"a whole number, got np.float64\(8.0\)"),
        ({"max_new_tokens": torch.tensor(8.0)}, r"a whole number, got tensor\(8.\)"),
        ({"max_new_tokens": torch.tensor([8, 9])}, r"a whole number, got tensor\(\[8, 9\]\)"),
        ({"max_new_tokens": torch.tensor(True)}, r"a whole number, got tensor\(True\)"),
        ({"max_new_tokens": None}, "a whole number, got None"),
        ({"cap": torch.tensor(5.0)}, r"the cap is a whole number, got tensor\(5.\)"),
        ({"cap": np.bool_(True)}, "the cap is a whole number, got np.True_"),
        ({"gamma": torch.tensor(True)}, r"gamma is a number or a list.*got tensor\(True\)"),
        ({"max_new_tokens": 0}, "wanted at least 1 new token, got max_new_tokens=0: give 1"),
        ({"gamma": "0.5"}, r"gamma is a number or a list of numbers, got '0\.5': give 0\.75"),
        ({"gamma": True}, "gamma is a number or a list of numbers, got True"),
        ({"gamma": {2: 0.5}}, "gamma is a number or a list of numbers, got {2: 0.5}"),
        ({"gamma": ("0.5", "0.5")}, r"a gamma is a number, got '0\.5': give a probability"),
        ({"gamma": 1.5}, r"gamma is a probability in \[0, 1\], got 1\.5"),
        ({"gamma": (0.5, 0.5, 0.5)}, r"wanted one gamma per head \(2 at \[2, 4\]\), got 3"),
        ({"placement": "24"}, "a placement is a rising list of depths.*, got '24': give a list"),
        ({"placement": 4}, "got 4: give a list, also of one"),
        ({"placement": (2.0,)}, r"a depth is a whole number, got 2\.0"),
        ({"cap": "5"}, "the cap is a whole number, got '5'"),
        ({"cap": True}, "the cap is a whole number, got True"),
        ({"cap": 0}, "the cap is at least 1 draft a round, got 0"),
        ({"policy": "greedy"}, "unknown policy 'greedy': known are vanilla"),
        ({"policy": None}, "unknown policy None: known are vanilla"),
        ({"policy": "oracle"}, "simulate it from a recorded trace"),
        ({"verify": "no"}, "verify is True or False, got 'no'"),
    ],
)
def test_what_is_no_design_is_refused(
    decoder: AdaDecoder, options: dict[str, Any], message: str
) -> None:
    """By ``generate``, and by ``stream`` before anything is computed."""
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(DesignError, match=message):
            ask(PROMPT, **options)


def test_a_depth_without_a_head_is_refused(decoder: AdaDecoder) -> None:
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(HeadsError, match=r"no head at depth 3: heads exist at \[2, 4\]; train"):
            ask(PROMPT, placement=(3,))


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.array, torch.tensor])
def test_whole_numbers_may_be_of_any_kind(decoder: AdaDecoder, kind: Callable[[int], Any]) -> None:
    """As those of a data frame or of a tensor are."""
    options = {"gamma": 0.02, "eos_token_id": (), "temperature": 1.0}
    text = decoder.generate(PROMPT, 8, cap=3, top_k=5, seed=7, **options)
    same = decoder.generate(
        PROMPT,
        kind(8),
        cap=kind(3),
        top_k=kind(5),
        seed=kind(7),
        placement=kind([2, 4]) if kind in (np.array, torch.tensor) else (kind(2), kind(4)),
        **options,
    )
    assert same == text


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.array, torch.tensor])
def test_numbers_may_be_of_any_kind(decoder: AdaDecoder, kind: Callable[[float], Any]) -> None:
    """They are exact in 32 bits here, so the text is the same."""
    text = decoder.generate(PROMPT, 8, gamma=0.5, temperature=0.75, top_p=0.875, seed=7)
    same = decoder.generate(
        PROMPT, 8, gamma=kind(0.5), temperature=kind(0.75), top_p=kind(0.875), seed=7
    )
    assert same == text


# ---- the end of a text ----


@pytest.mark.parametrize(
    ("eos", "message"),
    [
        (".", r"wanted eos_token_id as token ids, got '\.': give a token id such as tokenizer"),
        ([".", "\n"], r"wanted eos_token_id as token ids, got \['\.'"),
        (b"\x02", "wanted eos_token_id as token ids"),
        (2.0, r"wanted eos_token_id as token ids, got 2\.0"),
        ([2, 3.5], "wanted eos_token_id as token ids"),
        (True, "wanted eos_token_id as token ids, got True"),
        ({"eos": 2}, "wanted eos_token_id as token ids"),
        (VOCABULARY, rf"as token ids 0\.\.96 of this model, got {VOCABULARY}"),
        ([3, -1], r"of this model, got -1: .* or \(\) for none"),
        (np.array([3, -1]), "of this model, got -1"),
        ([2, None], "wanted eos_token_id as token ids"),
        ([2, True], "wanted eos_token_id as token ids"),
        (np.bool_(True), "wanted eos_token_id as token ids, got np.True_"),
        (torch.tensor([True]), "wanted eos_token_id as token ids"),
        (torch.tensor([2.0]), "wanted eos_token_id as token ids"),
        (np.array([2.5]), "wanted eos_token_id as token ids"),
        (torch.tensor([[2]]), "wanted eos_token_id as token ids"),
    ],
)
def test_what_is_no_end_of_a_text_is_refused(decoder: AdaDecoder, eos: Any, message: str) -> None:
    """And never taken for a token that does not come."""
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(InputError, match=message):
            ask(PROMPT, 8, eos_token_id=eos)


@pytest.mark.parametrize(
    "kind",
    [
        int,
        np.int64,
        torch.tensor,
        lambda token: [token],
        lambda token: {token, 0},
        lambda token: np.array([token, token]),
        lambda token: torch.tensor([token]),
        lambda token: torch.tensor([token, 0], dtype=torch.int32),
        lambda token: (np.int64(token), 0),
        lambda token: frozenset({token}),
        lambda token: (int(n) for n in (0, token)),
    ],
)
def test_a_text_ends_at_a_token_of_any_kind_of_integer(
    decoder: AdaDecoder, kind: Callable[[int], Any]
) -> None:
    text = greedy_text(decoder.parts.model, PROMPT, 12)
    end = text[5]
    wanted = text[: text.index(end) + 1]
    assert 0 not in wanted
    assert decoder.generate(PROMPT, 12, eos_token_id=kind(end)).tokens == wanted
    assert list(decoder.stream(PROMPT, 12, eos_token_id=kind(end))) == wanted


def test_without_ends_all_tokens_are_made(decoder: AdaDecoder) -> None:
    assert len(decoder.generate(PROMPT, 12, eos_token_id=()).tokens) == 12


# ---- room ----


def test_more_tokens_than_memory_holds_are_refused_before_any_is_taken(
    decoder: AdaDecoder,
) -> None:
    """The message says how many fit, and the decoder stays usable."""
    for ask in (decoder.generate, lambda *options: list(decoder.stream(*options))):
        for count in (10**9, 10**30):
            with pytest.raises(
                InputError,
                match=rf"keys and values of {count + len(PROMPT[0]) - 1 | 1} positions of Llama.* "
                r"GiB are free on cpu: ask for fewer new tokens \([\d,]+ positions fit",
            ):
                ask(PROMPT, count)
    assert len(decoder.generate(PROMPT, 4, eos_token_id=()).tokens) == 4


def test_what_fits_is_what_the_buffers_really_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte, and what is outgrown is counted as free."""
    decoder = AdaDecoder(tiny_model("llama"))
    decoder.generate(PROMPT, 5, policy="vanilla", eos_token_id=())  # in the room of the self-test
    kept = 2 * 6 * 2 * 16 * 8 * 21  # keys and values, layers, heads, width, FP64, positions
    wanted = kept + (2 * 16 * 8 + 8) * 21  # cosines and sines, width, FP64; position ids
    outgrown = decoder.parts.kv.nbytes
    monkeypatch.setattr(
        segmented_model, "free_bytes", lambda device, with_cache: wanted - outgrown - 1
    )
    with pytest.raises(InputError, match="keys and values of 21 positions"):
        decoder.generate(PROMPT, 16, policy="vanilla", eos_token_id=())
    monkeypatch.setattr(segmented_model, "free_bytes", lambda device, with_cache: wanted - outgrown)
    decoder.generate(PROMPT, 16, policy="vanilla", eos_token_id=())
    assert decoder.parts.kv.nbytes == kept


def test_rooms_of_streams_that_ended_make_place_for_a_longer_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The smallest first, and no more than need be."""
    decoder = AdaDecoder(tiny_model("llama"))
    parts = decoder.parts
    streams = [decoder.stream(PROMPT, 20 + 2 * more, eos_token_id=()) for more in range(4)]
    for stream in streams:
        next(stream)
    for stream in streams:
        list(stream)
    sizes = [21 + 2 * more + PROMPT.shape[1] - 1 | 1 for more in range(4)]
    parts.allocate(5)
    assert sorted(kv.capacity for kv, _ in parts._free) == sizes[1:]
    each = parts._bytes_per_position[parts.device]
    one = parts._free[0][0].nbytes / parts._free[0][0].capacity
    # what is free and the three smallest rooms hold 51 positions; two of them do not
    free = int(51 * each - one * sum(sizes[:3])) + 1
    monkeypatch.setattr(segmented_model, "free_bytes", lambda device, with_cache: free)
    with torch.inference_mode():
        parts.allocate(51)
    assert parts.kv.capacity == 51
    assert [kv.capacity for kv, _ in parts._free] == sizes[3:]
    with pytest.raises(InputError, match="ask for fewer new tokens"):
        parts.allocate(501)
    assert parts.kv.capacity == 51


def test_embeddings_of_all_positions_count_where_keys_and_values_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are there while layers' arguments are recorded, before there are keys and values."""
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=256,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=32,
        num_key_value_heads=1,
    )
    parts = AdaDecoder(LlamaForCausalLM(config)).parts
    embeddings, keys_and_values = 2 * 256 * 4, 2 * 8 * 4
    rotary = 2 * 8 * 4 + 8
    assert parts._bytes_per_position[parts.device] == embeddings + rotary
    parts.kv, parts._free = parts.buffers(0), []
    enough = 101 * (keys_and_values + rotary)
    monkeypatch.setattr(segmented_model, "free_bytes", lambda device, with_cache: enough)
    with pytest.raises(InputError, match="101 positions of Llama"):
        parts.allocate(101)


def test_where_nothing_says_what_is_free_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = AdaDecoder(tiny_model("llama"))
    monkeypatch.setattr(segmented_model, "free_bytes", lambda device, with_cache: None)
    assert len(decoder.generate(PROMPT, 16, policy="vanilla", eos_token_id=()).tokens) == 16


def test_more_positions_than_the_model_was_made_for_are_warned_of_once(decoder: AdaDecoder) -> None:
    """Rotary positions go on, and so does generate of transformers."""
    prompt = random_prompt(MAX_POSITIONS - 1)
    with pytest.warns(
        UserWarning, match=f"{MAX_POSITIONS + 1} positions, the model was made for {MAX_POSITIONS}"
    ):
        decoder.start(
            prompt,
            decoder.design(gamma=0.5, placement=(), cap=1, policy="vanilla"),
            max_new_tokens=3,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(decoder.generate(prompt, 3, policy="vanilla", eos_token_id=()).tokens) == 3


# ---- the decoder itself ----


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"heads": "heads"}, HeadsError, "wanted heads as ExitHeads, got a str: load them with"),
        ({"numerics": "exact"}, InputError, "native, canonical, got 'exact': leave it out for"),
        ({"numerics": "exact", "graphs": "static"}, InputError, "native, canonical, got 'exact'"),
        ({"graphs": "fast"}, InputError, "wanted graphs as one of eager, .* got 'fast': leave"),
        ({"graphs": None}, InputError, "wanted graphs as one of eager, .* got None"),
    ],
)
def test_what_no_decoder_is_made_of_is_refused(
    decoder: AdaDecoder, options: dict[str, Any], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        AdaDecoder(decoder.parts.model, **options)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(InputError, match="wanted model as a causal LM of transformers, got a str"):
        AdaDecoder("gpt2")  # type: ignore[arg-type]


def test_a_model_without_an_lm_head_is_refused(decoder: AdaDecoder) -> None:
    body = AutoModel.from_config(decoder.parts.model.config)
    with pytest.raises(UnsupportedModel, match=r"Llama.* it has no language-modelling head"):
        AdaDecoder(body)


def test_heads_of_a_model_of_another_shape_are_refused(decoder: AdaDecoder) -> None:
    other = tiny_model("llama", num_hidden_layers=3)
    with pytest.raises(HeadsError, match=r"another model: they are for 3 layers, .*model has 6"):
        AdaDecoder(decoder.parts.model, ExitHeads.identity(other, (1,)))
