"""What tokenizers give is taken by name, and padding is never read as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from transformers import BatchEncoding

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.profiles.errors import InputError
from tests.support.models import greedy_text, random_prompt, tiny_model
from tests.support.text_tokenizers import byte_level_tokenizer

PAD = 0
PROMPT = random_prompt(5)
PADDED = torch.cat((torch.full((1, 3), PAD), PROMPT), dim=1)
MASK = (PADDED != PAD).long()


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama", torch.float64)
    return AdaDecoder(model, ExitHeads.identity(model, (2, 4)))


@pytest.fixture(scope="module")
def text(decoder: AdaDecoder) -> list[int]:
    return decoder.generate(PROMPT, 8).tokens


@contextmanager
def settings(decoder: AdaDecoder, **values: Any) -> Iterator[None]:
    config = decoder.parts.model.generation_config
    before = {name: getattr(config, name) for name in values}
    for name, value in values.items():
        setattr(config, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def both(decoder: AdaDecoder, *given: Any, **named: Any) -> list[list[int]]:
    """The tokens by ``generate``, and those by ``stream``."""
    return [
        decoder.generate(*given, **named, max_new_tokens=8).tokens,
        list(decoder.stream(*given, **named, max_new_tokens=8)),
    ]


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.float32, torch.uint8])
def test_padding_at_the_left_is_cut_off(
    decoder: AdaDecoder, text: list[int], kind: torch.dtype
) -> None:
    assert both(decoder, PADDED, attention_mask=MASK.to(kind)) == [text, text]


def test_a_padded_text_is_that_of_generate(decoder: AdaDecoder, text: list[int]) -> None:
    """Of transformers, which masks what is cut off here."""
    own = decoder.parts.model.generate(
        PADDED, attention_mask=MASK, max_new_tokens=8, do_sample=False, pad_token_id=PAD
    )
    assert own[0, PADDED.shape[1] :].tolist() == text
    assert greedy_text(decoder.parts.model, PROMPT, 8) == text


def test_whatever_a_tokenizer_returns_is_taken(decoder: AdaDecoder) -> None:
    """Of a text with its segments, and of a chat."""
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    given = tokenizer("abc", return_tensors="pt", return_token_type_ids=True)
    assert set(given) == {"input_ids", "attention_mask", "token_type_ids"}
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "abc"}], return_tensors="pt")
    for inputs in (given, chat):
        plain = decoder.generate(inputs["input_ids"], 8).tokens
        assert both(decoder, **inputs) == [plain, plain]


def test_a_whole_output_is_refused_with_the_way_to_give_it(decoder: AdaDecoder) -> None:
    whole = BatchEncoding({"input_ids": PROMPT})
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(
            InputError, match=r"got a BatchEncoding: give its entries by name, as generate\(\*\*"
        ):
            ask(whole, 8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK.flip(1), "by attention_mask there is padding at the right of the input: decode one"),
        (
            torch.tensor([[0, 1, 0, 1, 1, 1, 1, 1]]),
            "by attention_mask there is padding in the middle of the input",
        ),
        (
            torch.tensor([[1, 1, 0, 1, 1, 1, 1, 0]]),
            "by attention_mask there is padding in the middle of the input",
        ),
        (torch.zeros_like(PADDED), "nothing of the input is text by attention_mask"),
        (MASK[:, 1:], r"for the input's \(1, 8\) token ids, got \(1, 7\)"),
        (MASK[0], r"got \(8,\)"),
        (MASK[None], r"got \(1, 1, 8\)"),
        (MASK * 2, "of 0 for padding and 1 for text, got other values"),
        (MASK.float() * torch.nan, "got other values"),
        (MASK.tolist(), "as a tensor like the input ids, got a list"),
    ],
)
def test_a_mask_that_tells_of_something_else_is_refused(
    decoder: AdaDecoder, mask: Any, message: str
) -> None:
    for ask in (decoder.generate, decoder.stream):
        with pytest.raises(InputError, match=message):
            ask(PADDED, 8, attention_mask=mask)


def test_segments_are_refused(decoder: AdaDecoder) -> None:
    """Zeros say nothing."""
    assert decoder.generate(PROMPT, 8, token_type_ids=torch.zeros_like(PROMPT)).tokens
    for wrong in (torch.ones_like(PROMPT), [0]):
        with pytest.raises(InputError, match="wanted no token_type_ids, or 0 for each token"):
            decoder.generate(PROMPT, 8, token_type_ids=wrong)  # type: ignore[arg-type]


def test_the_padding_token_is_padding_without_a_mask(decoder: AdaDecoder, text: list[int]) -> None:
    """As for generate. A mask says where it is text."""
    with settings(decoder, pad_token_id=PAD):
        assert both(decoder, PADDED) == [text, text]
        with pytest.raises(
            InputError, match=r"by the padding token 0 there is padding at the right .*ones_like"
        ):
            decoder.generate(PADDED.flip(1), 8)
        read = decoder.generate(PADDED, 8, attention_mask=torch.ones_like(PADDED)).tokens
    with settings(decoder, pad_token_id=None):
        assert decoder.generate(PADDED, 8).tokens == read


def test_a_padding_token_that_ends_texts_is_text(decoder: AdaDecoder) -> None:
    """As for generate: a tokenizer without one of its own pads with the end of texts."""
    with settings(decoder, pad_token_id=None):
        read = decoder.generate(PADDED, 8, eos_token_id=()).tokens
    for ends in (PAD, [2, PAD]):
        with settings(decoder, pad_token_id=PAD, eos_token_id=ends):
            assert decoder.generate(PADDED, 8, eos_token_id=()).tokens == read
