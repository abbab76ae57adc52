"""What ``generate`` is asked for from Python: refused in a sentence where it is no text, and warned of where it is beyond the model."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.profiles.errors import InputError
from tests.support.models import MAX_POSITIONS, random_prompt, tiny_model


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    return AdaDecoder(tiny_model("llama"))


@pytest.mark.parametrize(
    ("ids", "new", "message"),
    [
        ([1, 2, 3], 8, "wanted the input ids as a tensor of integers .*, got a list"),
        (torch.ones((1, 3)), 8, "got a tensor of torch.float32"),
        (torch.ones((1, 3), dtype=torch.bool), 8, "got a tensor of torch.bool"),
        (
            torch.ones((1, 3), dtype=torch.long),
            "8",
            "wanted max_new_tokens as a whole number, got '8'",
        ),
        (torch.ones((1, 3), dtype=torch.long), 8.0, "got 8.0"),
    ],
)
def test_what_is_no_text_is_refused(decoder: AdaDecoder, ids: Any, new: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decoder.generate(ids, new, policy="vanilla")


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
