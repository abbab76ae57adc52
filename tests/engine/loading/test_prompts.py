"""Prompt files: what is read from them, and how each kind of broken one is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adadecode.engine.loading.prompts import DOMAIN, Prompt, as_prompts, encode, read_prompts
from adadecode.profiles.errors import PromptError


def written(folder: Path, content: str | bytes, name: str = "prompts.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class Letters:
    """A tokenizer of which every letter is a token, and spaces are none."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text if letter != " "]}


def test_json_lines_hold_prompts_under_either_key(tmp_path: Path) -> None:
    """An object's "prompt" or "text" is the text; keys nobody knows are ignored."""
    path = written(tmp_path, '{"prompt": "a b", "domain": "code", "id": 7}\n{"text": "c"}\n')
    assert read_prompts(path) == [
        Prompt(text="a b", domain="code"),
        Prompt(text="c", domain=DOMAIN),
    ]


def test_plain_text_holds_one_prompt_a_line(tmp_path: Path) -> None:
    """Blank lines are skipped, and so is a Windows line end."""
    assert read_prompts(written(tmp_path, "one\r\n\n  \ntwo", "p.txt")) == [
        Prompt(text="one"),
        Prompt(text="two"),
    ]


def test_a_file_of_objects_is_json_whatever_its_name(tmp_path: Path) -> None:
    """A first line that is a JSON object makes the file JSON lines."""
    assert read_prompts(written(tmp_path, '{"text": "c"}\n', "p.txt")) == [Prompt(text="c")]


def test_a_plain_line_may_start_with_a_brace(tmp_path: Path) -> None:
    """Text that only looks like JSON is text where the file's name does not say otherwise."""
    assert read_prompts(written(tmp_path, "{x | x > 0} is\n", "p.txt")) == [
        Prompt(text="{x | x > 0} is")
    ]


def test_a_prompt_keeps_its_own_line_ends(tmp_path: Path) -> None:
    """Only a line feed ends a line of JSON: U+2028 in a string is part of the prompt."""
    assert read_prompts(written(tmp_path, '{"prompt": "a\u2028b\\nc"}\n'))[0].text == "a\u2028b\nc"


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    """Some editors put one at the start of a UTF-8 file."""
    assert read_prompts(written(tmp_path, b"\xef\xbb\xbfone\n", "p.txt")) == [Prompt(text="one")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no prompts"),
        ("\n \n", "no prompts"),
        ('{"prompt": "a"}\n\n{"prompt": \n', "wanted JSON in .*line 3, got something else"),
        ('{"question": "a"}', "line 1, got one with 'question'"),
        ('"a"', 'wanted an object with "prompt" or "text" in .*line 1, got "a"'),
        ('{"prompt": 7}', 'string as "prompt" in .*line 1, got 7'),
        ('{"prompt": null}', "got null"),
        ('{"prompt": " "}', '"prompt" is empty in .*line 1'),
        ('{"prompt": "a", "domain": ["b"]}', 'string as "domain"'),
        ('{"prompt": "a\\ud800"}', "surrogate"),
        ("[" * 100_000, "line 1 is nested too deeply"),
        (b'{"prompt": "caf\xe9"}', "UTF-8 in .*byte 0xe9 at 15"),
    ],
)
def test_a_broken_file_is_refused_by_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    """What is wrong, and in which line."""
    with pytest.raises(PromptError, match=message):
        read_prompts(written(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(PromptError, match=r"no prompt file .*nowhere\.txt"):
        read_prompts(tmp_path / "nowhere.txt")


def test_a_folder_or_a_pipe_is_no_prompt_file(tmp_path: Path) -> None:
    """The message says so, at once."""
    with pytest.raises(PromptError, match="got the directory"):
        read_prompts(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PromptError, match="got the pipe"):
        read_prompts(tmp_path / "pipe")


def test_encoding_gives_one_row_of_ids() -> None:
    """(1, n), as the engine takes it."""
    ids = encode(Letters(), Prompt(text="ab"))
    assert torch.equal(ids, torch.tensor([[97, 98]]))


def test_a_prompt_without_tokens_is_refused() -> None:
    """There is nothing to continue."""
    with pytest.raises(PromptError, match="no token"):
        encode(Letters(), Prompt(text="  "))


@pytest.mark.parametrize("length", ["0", "-3", "1.5", "true", '"9"'])
def test_a_length_that_is_none_is_refused(tmp_path: Path, length: str) -> None:
    """A prompt's own max_new_tokens is a whole number from 1 on."""
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "a", "max_new_tokens": {length}}}\n')
    with pytest.raises(
        PromptError, match=r'wanted a whole number from 1 on as "max_new_tokens" in .*, line 1'
    ):
        read_prompts(path)


def test_a_prompt_may_have_its_own_length(tmp_path: Path) -> None:
    """A prompt without a length has None."""
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a", "max_new_tokens": 7}\n{"prompt": "b"}\n')
    assert [p.max_new_tokens for p in read_prompts(path)] == [7, None]


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
        ([["a"]], "wanted the text of a prompt as a str, got"),
    ],
)
def test_what_are_no_prompts_is_refused(texts: Any, message: str) -> None:
    """And never taken for one prompt a letter."""
    with pytest.raises(PromptError, match=message):
        as_prompts(texts)


def test_a_domain_is_a_text() -> None:
    with pytest.raises(PromptError, match="wanted the domain of a prompt as a str, got None"):
        Prompt(text="a", domain=None)  # type: ignore[arg-type]
