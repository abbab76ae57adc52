"""Which tokens end a text where none are given: the model's own, as they are at the call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.profiles.errors import InputError
from tests.support.models import VOCABULARY, greedy_text, random_prompt, tiny_model
from tests.support.text_tokenizers import byte_level_tokenizer

PROMPT = random_prompt(5)


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    return AdaDecoder(tiny_model("llama"))


@pytest.mark.parametrize(
    "kind",
    [
        int,
        np.int64,
        torch.tensor,
        lambda token: [token],
        lambda token: (0, token),
        lambda token: np.array([token, 0]),
        lambda token: torch.tensor([0, token]),
    ],
)
def test_settings_may_name_them_in_any_kind(
    decoder: AdaDecoder, kind: Callable[[int], Any]
) -> None:
    """A tensor of ids silently never stopped, and NumPy's integers were a TypeError."""
    model = decoder.parts.model
    text = greedy_text(model, PROMPT, 12)
    model.generation_config.eos_token_id = kind(text[5])
    wanted = text[: text.index(text[5]) + 1]
    assert AdaDecoder(model).generate(PROMPT, 12, policy="vanilla").tokens == wanted
    model.generation_config.eos_token_id = 2


def test_they_are_read_at_every_call(decoder: AdaDecoder) -> None:
    """A change after the decoder was made counts, as it does for ``generate``, and so does None."""
    model = decoder.parts.model
    text = greedy_text(model, PROMPT, 12)
    for end, length in ((text[5], text.index(text[5]) + 1), (None, 12), (2, 12)):
        model.generation_config.eos_token_id = end
        assert decoder.generate(PROMPT, 12, policy="vanilla").tokens == text[:length]
        assert list(decoder.stream(PROMPT, 12, policy="vanilla")) == text[:length]
    assert decoder.eos == {2}


def test_ids_that_the_model_does_not_have_end_nothing(decoder: AdaDecoder) -> None:
    model = decoder.parts.model
    model.generation_config.eos_token_id = [-1, VOCABULARY]
    assert decoder.eos == frozenset()
    model.generation_config.eos_token_id = 2


@pytest.mark.parametrize("own", ["</s>", 2.0, [2, None], {"a": 2}, True])
def test_settings_that_hold_no_ids_are_refused(decoder: AdaDecoder, own: Any) -> None:
    model = decoder.parts.model
    model.generation_config.eos_token_id = own
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(
            InputError, match="eos_token_id of the model's generation settings as token ids, got"
        ):
            ask(PROMPT, 4)
    model.generation_config.eos_token_id = 2


def test_a_tokenizer_with_another_end_is_warned_of_once() -> None:
    """Its texts would run on behind what it calls their end."""
    tokenizer, prompt = byte_level_tokenizer(), torch.tensor([[3, 4, 5]])
    model = tiny_model("llama", vocab_size=len(tokenizer))
    decoder = AdaDecoder(model)
    model.generation_config.eos_token_id = [3, 4]
    with pytest.warns(
        UserWarning, match=r"ends texts with '</s>' \(token 2\), but by the .* only 3, 4 does: if"
    ):
        decoder.generate(prompt, 4, policy="vanilla", tokenizer=tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoder.generate(prompt, 4, policy="vanilla", tokenizer=tokenizer)
        model.generation_config.eos_token_id = [2, 4]
        AdaDecoder(model).generate(prompt, 4, policy="vanilla", tokenizer=tokenizer)


def test_settings_that_hold_no_ids_refuse_no_text_with_ends_of_its_own() -> None:
    """As their refusal tells to give."""
    model = tiny_model("llama")
    decoder = AdaDecoder(model)
    model.generation_config.eos_token_id = ["x"]
    with pytest.raises(InputError, match="eos_token_id of the model's generation settings"):
        decoder.generate(random_prompt(4), 3)
    assert len(decoder.generate(random_prompt(4), 3, eos_token_id=()).tokens) == 3
    assert len(list(decoder.stream(random_prompt(4), 3, eos_token_id=()))) == 3
