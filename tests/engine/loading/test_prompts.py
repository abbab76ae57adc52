"""Prompts: what is none, and the token ids of one with the special tokens that belong to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from adadecode.engine.loading.prompts import Prompt, as_prompts, encode
from adadecode.profiles.errors import PromptError


class Letters:
    """A tokenizer of which every letter is a token, and spaces are none."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text if letter != " "]}


def test_encoding_gives_one_row_of_ids() -> None:
    """(1, n), as the engine takes it."""
    ids = encode(Letters(), Prompt(text="ab"))
    assert torch.equal(ids, torch.tensor([[97, 98]]))


def test_a_prompt_without_tokens_is_refused() -> None:
    """There is nothing to continue."""
    with pytest.raises(PromptError, match="no token"):
        encode(Letters(), Prompt(text="  "))


@pytest.mark.parametrize("kind", [int, np.int64, np.array, torch.tensor])
def test_a_length_may_be_a_whole_number_of_any_kind(kind: Any) -> None:
    """A digest of the prompts can hold it."""
    assert type(Prompt(text="a", max_new_tokens=kind(7)).max_new_tokens) is int


@pytest.mark.parametrize("length", [0, -1, 7.0, True, "7", torch.tensor(7.0), [7]])
def test_a_length_that_is_none_is_refused_from_python_too(length: Any) -> None:
    with pytest.raises(PromptError, match="of a prompt as a whole number from 1 on, got"):
        Prompt(text="a", max_new_tokens=length)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a text", "wanted prompts as a list of texts, got a str: give a list, also of one"),
        (Prompt(text="a"), "wanted prompts as a list of texts, got a Prompt"),
        (None, "wanted prompts as a list of texts, got a NoneType"),
        ({"prompt": "a"}, "wanted prompts as a list of texts, got a dict"),
        (["a", 7], "wanted the text of a prompt as a str, got 7"),
        ([["a"]], r"got messages: make prompts of conversations with chat_prompts\(tokenizer"),
        ([{"messages": []}], "got messages: make prompts of conversations with chat_prompts"),
    ],
)
def test_what_are_no_prompts_is_refused(texts: Any, message: str) -> None:
    """And never taken for one prompt a letter."""
    with pytest.raises(PromptError, match=message):
        as_prompts(texts)


def test_a_domain_is_a_text() -> None:
    with pytest.raises(PromptError, match="wanted the domain of a prompt as a str, got None"):
        Prompt(text="a", domain=None)  # type: ignore[arg-type]
