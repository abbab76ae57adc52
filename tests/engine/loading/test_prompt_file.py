"""Prompt files: the forms that data sets have, and how each kind of broken one is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adadecode.engine.loading.conversation import Conversation
from adadecode.engine.loading.prompt_file import read_prompts, read_texts
from adadecode.engine.loading.prompts import DOMAIN, Prompt
from adadecode.engine.runtime.choices import PromptSplit
from adadecode.profiles.errors import PromptError
from tests.support.paths import SHARED_DATA

USER, ANSWER = {"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}
HUMAN, GPT = {"from": "human", "value": "a?"}, {"from": "gpt", "value": "b."}
CODE = "def f():\n    if x:\n\n        return 1\n\n"


def written(folder: Path, content: str | bytes, name: str = "prompts.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(folder: Path, *entries: Any, name: str = "prompts.jsonl") -> Path:
    return written(folder, "".join(f"{json.dumps(entry)}\n" for entry in entries), name)


def test_json_lines_hold_prompts_under_either_key(tmp_path: Path) -> None:
    """An object's "prompt" or "text" is the text; keys nobody knows are ignored."""
    path = written(tmp_path, '{"prompt": "a b", "domain": "code", "id": 7}\n{"text": "c"}\n')
    assert read_prompts(path).prompts == [
        Prompt(text="a b", domain="code"),
        Prompt(text="c", domain=DOMAIN),
    ]


def test_plain_text_holds_one_prompt_a_line(tmp_path: Path) -> None:
    """Blank lines are skipped, and so is a Windows line end."""
    assert read_prompts(written(tmp_path, "one\r\n\n  \ntwo", "p.txt")).prompts == [
        Prompt(text="one"),
        Prompt(text="two"),
    ]


def test_a_file_of_objects_is_json_whatever_its_name(tmp_path: Path) -> None:
    """A first line that is a JSON object makes the file JSON lines."""
    assert read_prompts(written(tmp_path, '{"text": "c"}\n', "p.txt")).prompts == [Prompt(text="c")]


def test_a_plain_line_may_start_with_a_brace(tmp_path: Path) -> None:
    """Text that only looks like JSON is text where the file's name does not say otherwise."""
    assert read_prompts(written(tmp_path, "{x | x > 0} is\n", "p.txt")).prompts == [
        Prompt(text="{x | x > 0} is")
    ]


def test_a_prompt_keeps_its_own_line_ends(tmp_path: Path) -> None:
    """Only a line feed ends a line of JSON: U+2028 in a string is part of the prompt."""
    assert (
        read_prompts(written(tmp_path, '{"prompt": "a\u2028b\\nc"}\n')).prompts[0].text
        == "a\u2028b\nc"
    )


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    """Some editors put one at the start of a UTF-8 file."""
    assert read_prompts(written(tmp_path, b"\xef\xbb\xbfone\n", "p.txt")).prompts == [
        Prompt(text="one")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no prompts"),
        ("\n \n", "no prompts"),
        ('{"prompt": "a"}\n\n{"prompt": \n', "wanted JSON in .*line 3, got something else"),
        ('{"question": "a"}', "line 1, got one with 'question'"),
        ('"a"', 'wanted an object with "prompt", .* or "conversations" in .*line 1, got "a"'),
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
    assert [p.max_new_tokens for p in read_prompts(path).prompts] == [7, None]


# ---- arrays and other fields ----


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["p.json", "p.jsonl", "p.txt"])
def test_an_array_is_read_as_lines_are(tmp_path: Path, name: str, indent: int | None) -> None:
    """On one line or on many, whatever the file is called."""
    entries = [{"prompt": "a [b], {c}", "domain": "code"}, {"prompt": "d"}]
    found = read_prompts(written(tmp_path, json.dumps(entries, indent=indent), name))
    assert found.prompts == [Prompt(text="a [b], {c}", domain="code"), Prompt(text="d")]
    assert found.recognised.endswith('holds a JSON array with texts as "prompt", 2 in all')


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_of_json_end_as_lines_of_text_do(tmp_path: Path, end: str) -> None:
    """Also those of an array, which are counted for messages."""
    entries = ['{"prompt": "a"}', '{"prompt": "b"}']
    assert read_prompts(written(tmp_path, end.join(entries))).prompts == [
        Prompt(text="a"),
        Prompt(text="b"),
    ]
    array = end.join(["[", '{"prompt": "a"},', "", '{"prompt": 7}', "]"])
    with pytest.raises(PromptError, match=r'as "prompt" in .*p\.json, line 4, got 7'):
        read_prompts(written(tmp_path, array, "p.json"))


def test_an_array_of_texts_holds_prompts(tmp_path: Path) -> None:
    assert read_prompts(written(tmp_path, '["a", "b\\n"]', "p.json")).prompts == [
        Prompt(text="a"),
        Prompt(text="b\n"),
    ]


def test_a_line_of_text_may_begin_with_a_bracket(tmp_path: Path) -> None:
    """It is JSON only where all of it is."""
    assert read_prompts(written(tmp_path, "[1] Sea\n[2, 3]\n", "p.txt")).prompts == [
        Prompt(text="[1] Sea"),
        Prompt(text="[2, 3]"),
    ]


def test_one_object_on_many_lines_is_one_prompt(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"prompt": "a"}, indent=1), "p.json")
    assert read_prompts(path).prompts == [Prompt(text="a")]


def test_a_wrong_item_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    content = '[\n {"prompt": "a\\nb"},\n\n {"prompt": 7}\n]'
    with pytest.raises(PromptError, match=r'as "prompt" in .*p\.json, line 4, got 7'):
        read_prompts(written(tmp_path, content, "p.json"))


def test_any_field_may_hold_the_prompts(tmp_path: Path) -> None:
    """As GSM8K's question. Without the option the message names the field."""
    path = lines(tmp_path, {"id": 7, "question": "a?", "answer": "b"})
    assert read_prompts(path, field="question").prompts == [Prompt(text="a?")]
    with pytest.raises(PromptError, match="name the field with --prompt-field question"):
        read_prompts(path)
    with pytest.raises(PromptError, match=r'wanted an object with "text" in .*line 1'):
        read_prompts(path, field="text")


@pytest.mark.parametrize("indent", [None, 1])
def test_entries_within_an_object_are_no_field(tmp_path: Path, indent: int | None) -> None:
    """To name it would not help."""
    path = written(tmp_path, json.dumps({"n": 1, "data": [{"prompt": "a"}]}, indent=indent))
    with pytest.raises(PromptError, match=r'one with .*: write what "data" holds as the file'):
        read_prompts(path)
    path = lines(tmp_path, {"choices": [{"label": "A"}], "question": "a?"})
    with pytest.raises(PromptError, match="name the field with --prompt-field question"):
        read_prompts(path)
    with pytest.raises(PromptError, match="name the field with --prompt-field chat"):
        read_prompts(lines(tmp_path, {"chat": [USER]}))


@pytest.mark.parametrize(
    ("entries", "field", "message"),
    [
        (
            [{"prompt": "a"}, {"id": 2, "answer": "b"}],
            None,
            """line 2, got one with 'id', 'answer': fill "prompt" in, or leave the line out$""",
        ),
        ([{"answer": "b"}, {"text": "a"}], None, 'line 1, .*: fill "text" in, or leave the line'),
        ([{"q": "a"}, {"r": "b"}], "q", 'line 2, got one with .r.: fill "q" in, or leave the line'),
        ([{"q": "a"}, {"q": 7}], None, 'no other field holds a prompt in every line, so add "pr'),
        ([{"id": 1, "answer": "b"}], None, 'no other field holds a prompt in .*, so add "prompt"$'),
        ([{"q": "a", "n": "b"}, {"q": "c", "n": "d"}], None, "with --prompt-field q or n$"),
        ([{"prompt": "a"}, 7], None, 'line 2, got 7: write it as {"prompt": "..."}, or leave'),
    ],
)
def test_a_field_is_proposed_only_where_every_line_has_it(
    tmp_path: Path, entries: list[Any], field: str | None, message: str
) -> None:
    """A field of answers never is."""
    with pytest.raises(PromptError, match=message):
        read_prompts(lines(tmp_path, *entries), field=field)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_of_texts_within_an_object_is_to_be_the_file(
    tmp_path: Path, indent: int | None
) -> None:
    """Named as a field, it would be the turns of one chat, and all but the first be left out."""
    path = written(tmp_path, json.dumps({"prompts": ["a", "b"]}, indent=indent), "p.json")
    with pytest.raises(PromptError, match='write the list that "prompts" holds as the file'):
        read_prompts(path)


def test_an_entry_of_two_forms_is_refused_until_one_is_chosen(tmp_path: Path) -> None:
    """Fields that hold no prompt, and fields that nobody knows, do not count."""
    both = {"prompt": "Hi", "messages": [USER], "id": 7}
    path = lines(tmp_path, {"prompt": "a", "turns": [], "note": "b"}, both)
    with pytest.raises(
        PromptError,
        match=r'one form of prompt in .*line 2, got "prompt" and "messages": .*field prompt or mes',
    ):
        read_prompts(path)
    assert read_prompts(path, field="prompt").prompts == [Prompt(text="a"), Prompt(text="Hi")]
    with pytest.raises(PromptError, match='line 1, got "prompt" and "text"'):
        read_texts(lines(tmp_path, {"prompt": "a", "text": "b"}))


def test_every_field_that_was_read_is_named(tmp_path: Path) -> None:
    found = read_prompts(lines(tmp_path, {"prompt": "a"}, {"text": "b"}, {"prompt": "c"}))
    assert found.recognised.endswith('JSON lines with texts as "prompt" and "text", 3 in all')


def test_a_field_of_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"--prompt-field a names a field of JSON, .* holds text"):
        read_prompts(written(tmp_path, "one\n", "p.txt"), field="a")


# ---- conversations ----


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"messages": [USER, ANSWER, USER, ANSWER]}, None),
        ({"conversations": [HUMAN, GPT, HUMAN, GPT, GPT]}, None),
        ({"conversations": [GPT, HUMAN, GPT, HUMAN]}, None),
        ({"conversations": [USER, ANSWER, USER]}, None),
        ({"prompt": [USER, ANSWER, USER]}, None),
        ({"chat": [HUMAN, GPT, HUMAN]}, "chat"),
    ],
)
def test_conversations_end_where_the_model_is_to_answer(
    tmp_path: Path, entry: dict[str, Any], field: str | None
) -> None:
    """OpenAI's messages and ShareGPT's turns, under their own names or any other."""
    found = read_prompts(lines(tmp_path, {**entry, "domain": "d"}), field=field).prompts
    assert found == [Conversation(messages=(USER, ANSWER, USER), domain="d")]


def test_what_is_left_out_of_conversations_is_said(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"conversations": []},
        {"conversations": [GPT]},
        {"conversations": [{"from": "system", "value": "s"}, GPT, HUMAN, GPT]},
    )
    found = read_prompts(path)
    assert found.prompts == [
        Conversation(messages=({"role": "system", "content": "s"}, USER)),
    ]
    assert found.recognised.endswith(
        'JSON lines with ShareGPT\'s turns as "conversations", 1 in all; left out: 2 conversations '
        "in which nobody asks; left out: 1 answer at the beginning; left out: 1 answer at the end"
    )


def test_a_content_may_be_parts_of_text(tmp_path: Path) -> None:
    """Each on a line of its own. What else a message has is kept for the template."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    path = lines(tmp_path, {"messages": [{"role": "user", "content": parts, "name": "Ada"}]})
    (found,) = read_prompts(path).prompts
    assert isinstance(found, Conversation)
    assert found.messages == ({"role": "user", "content": "a\nb", "name": "Ada"},)


def test_the_first_turn_is_the_prompt(tmp_path: Path) -> None:
    """Others ask about its answer. Spec-Bench's category is the domain."""
    path = lines(
        tmp_path,
        {"category": "math", "turns": ["a", "b", "c"]},
        {"category": "math", "domain": "own", "turns": ["d"]},
        {"turns": ["e"]},
    )
    found = read_prompts(path)
    assert found.prompts == [
        Prompt(text="a", domain="math"),
        Prompt(text="d", domain="own"),
        Prompt(text="e"),
    ]
    assert "left out: 2 turns after a first, as it asks" in found.recognised


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [{"prompt": "a"}, {"messages": [USER]}],
            "one form of prompts, got texts .*1 and messages",
        ),
        ([{"turns": ["a"]}, {"conversations": [HUMAN]}], "turns .*1 and ShareGPT's .*line 2"),
        ([{"messages": []}], r'turns or a string as "messages" in .*1, got \[\]'),
        ([{"turns": [7]}], r'turns or a string as "turns" in .*1, got \[7\]'),
        ([{"turns": [" "]}], '"turns" is empty in .*1'),
        ([{"messages": [ANSWER]}], "nothing to answer in .*line 1"),
        ([{"messages": [{"content": "a"}]}], '"role" and "content", .*line 1'),
        ([{"messages": [USER, {"role": " ", "content": "a"}]}], '"role" and "content", .*line 1'),
        (
            [{"messages": [USER]}, {"messages": [{"role": "wizard", "content": "a"}]}],
            "the role one of system, developer, user, assistant, tool, function, in .*2, got .*wiz",
        ),
        ([{"messages": [{"role": "user"}]}], "content of the user's message in .*1 as a text"),
        (
            [{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}],
            "got a part of type 'image_url': only text",
        ),
        ([{"conversations": [{"from": "x", "value": "a"}]}], 'wanted turns with "from" .*line 1'),
        ([{"conversations": [{"from": "human"}]}], 'a text as "value" in .*line 1'),
        ([{"conversations": [GPT]}], "in no conversation does anybody ask"),
    ],
)
def test_a_conversation_that_is_none_is_refused_by_line(
    tmp_path: Path, entries: list[Any], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        read_prompts(lines(tmp_path, *entries))


def test_the_texts_of_a_conversation_are_what_was_said(tmp_path: Path) -> None:
    """Where tokens are counted, no template is needed."""
    path = lines(tmp_path, {"messages": [USER, ANSWER, USER]})
    assert read_texts(path) == [Prompt(text="a?\nb.\na?")]


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
def test_a_call_of_a_tool_says_nothing(tmp_path: Path, content: dict[str, Any]) -> None:
    """It has no content, or none to count tokens in."""
    called = {"role": "assistant", "tool_calls": [{"id": "1"}], **content}
    path = lines(
        tmp_path,
        {"messages": [USER, called, {"role": "tool", "content": "7"}]},
        {"messages": [{"role": "user", "content": ""}]},
    )
    assert read_texts(path) == [Prompt(text="a?\n7")]


def test_texts_may_stand_in_a_field_that_is_named(tmp_path: Path) -> None:
    """Or in one that is known: the name is one for prompts first of all."""
    path = lines(tmp_path, {"question": "a?", "text": "b"})
    assert read_texts(path, field="question") == [Prompt(text="a?")]
    assert read_texts(path, field="other") == [Prompt(text="b")]
    path = written(tmp_path, "one\n", "p.txt")
    assert read_texts(path, field="question") == [Prompt(text="one")]


# ---- plain text ----


def test_lines_of_a_text_keep_their_indentation(tmp_path: Path) -> None:
    """And a hint says how lines are kept together."""
    found = read_prompts(written(tmp_path, "\n  a \r\nb\n", "p.txt"))
    assert found.prompts == [Prompt(text="  a "), Prompt(text="b")]
    assert "(1 of them indented: --prompt-split blank or file keeps" in found.recognised


def test_a_whole_text_may_be_one_prompt(tmp_path: Path) -> None:
    """With its indentation, and blank lines at its end."""
    path = written(tmp_path, CODE.replace("\n", "\r\n"), "p.py")
    assert read_prompts(path, split=PromptSplit.FILE).prompts == [Prompt(text=CODE)]


def test_blank_lines_may_stand_between_prompts(tmp_path: Path) -> None:
    path = written(tmp_path, f"\n\n{CODE}\n \n    one\ntwo\n", "p.txt")
    assert read_prompts(path, split=PromptSplit.BLANK).prompts == [
        Prompt(text="def f():\n    if x:"),
        Prompt(text="        return 1"),
        Prompt(text="    one\ntwo"),
    ]


def test_json_is_not_cut(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"--prompt-split file cuts a text, .* holds JSON lines"):
        read_prompts(lines(tmp_path, {"prompt": "a"}), split=PromptSplit.FILE)


@pytest.mark.parametrize("name", ["p.csv", "p.TSV", "p.parquet"])
def test_a_table_is_refused(tmp_path: Path, name: str) -> None:
    """Its lines are no prompts."""
    with pytest.raises(PromptError, match=r"got the table .*: write its rows as JSON lines"):
        read_prompts(written(tmp_path, "a,b\n1,2\n", name))


@pytest.mark.parametrize(
    ("name", "field", "count", "said"),
    [
        ("gsm8k", "question", 1000, 'JSON lines with texts as "question", 1,000 in all'),
        ("humaneval", None, 130, 'JSON lines with texts as "prompt", 130 in all'),
        ("spec_bench", None, 360, "left out: 60 turns after a first"),
    ],
)
def test_data_sets_are_read_as_they_come(
    name: str, field: str | None, count: int, said: str
) -> None:
    """Where they are present, outside the project."""
    path = SHARED_DATA / "prompts" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}")
    found = read_prompts(path, field=field)
    assert len(found.prompts) == count
    assert said in found.recognised
