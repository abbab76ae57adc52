"""Chat templates: what they write of conversations, with the special tokens that belong to it."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from adadecode.engine.loading.chat_template import chat_prompts, settle_prompts
from adadecode.engine.loading.conversation import Conversation
from adadecode.engine.loading.prompt_source import PromptSource
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import InputError, PromptError
from tests.support.text_tokenizers import TOKENIZERS

TURNS = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}. "
    "{% else %}{{ m.content }}\n{% endif %}{% endfor %}"
)
WITH_START = "{{ bos_token }}" + TURNS
THINKING = TURNS + "{% if thinking is defined and thinking %}th{% endif %}"
NO_SYSTEM = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}a"
ASKED = ({"role": "user", "content": "abc"},)
SYSTEM = ({"role": "system", "content": "bad"}, *ASKED)


def tokenizer(
    kind: str = "byte level", template: Any = TURNS, *, adds_start: bool = False
) -> PreTrainedTokenizerFast:
    """A small tokenizer of its kind; ``adds_start`` puts <s> before each text, as Llama's does."""
    made = TOKENIZERS[kind]()
    made.chat_template = template
    if adds_start:
        made.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", made.bos_token_id)]
        )
    return made


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("adds_start", [False, True])
@pytest.mark.parametrize("template", [TURNS, WITH_START])
def test_a_chat_has_the_tokens_that_transformers_gives_it(
    kind: str, adds_start: bool, template: str
) -> None:
    """A start only where its template writes one, whatever the tokenizer adds to other texts."""
    made = tokenizer(kind, template, adds_start=adds_start)
    (prompt,) = chat_prompts(made, [SYSTEM])
    ids = encode(made, prompt)[0].tolist()
    wanted = made.apply_chat_template(list(SYSTEM), add_generation_prompt=True)["input_ids"]
    assert ids == wanted
    assert ids.count(made.bos_token_id) == (template == WITH_START)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("adds_start", [False, True])
def test_a_plain_text_begins_once(kind: str, adds_start: bool) -> None:
    """Also where the text has the token that the tokenizer adds."""
    made = tokenizer(kind, adds_start=adds_start)
    start = made.bos_token_id
    for text, least in (("abc", 0), ("<s>abc", 1), ("<s><s>abc", 2)):
        ids = encode(made, Prompt(text=text))[0].tolist()
        begun = ids[: -len(encode(tokenizer(kind), Prompt(text="abc"))[0])]
        assert begun == [start] * max(least, int(adds_start))


def test_a_template_of_a_tokenizer_that_always_adds_begins_once() -> None:
    """Some add the start whatever they are asked for."""

    class Adding:
        bos_token, bos_token_id = "<s>", 1

        def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
            return {"input_ids": [1, *([1] if text.startswith("<s>") else []), 7]}

    assert encode(Adding(), Prompt(text="<s>a", template="x")).tolist() == [[1, 7]]  # type: ignore[arg-type]


def settled(
    prompts: list[Prompt | Conversation], made: PreTrainedTokenizerFast, **options: Any
) -> tuple[list[Prompt], list[str]]:
    said: list[str] = []
    source = PromptSource(**options)
    return settle_prompts(prompts, made, source, said.append, model="m"), said


def test_messages_are_written_by_the_template_always() -> None:
    """With their domain and length, and the digest of the template."""
    chat = Conversation(messages=SYSTEM, domain="d", max_new_tokens=3)
    found, said = settled([chat], tokenizer())
    assert found == [
        Prompt(text="bad. abc\n", domain="d", max_new_tokens=3, template=sha256_hex(TURNS.encode()))
    ]
    assert said == []


def test_plain_prompts_are_written_by_it_where_they_are_asked_as_chats() -> None:
    """Else they stay, and a notice says that there is a template."""
    plain = Prompt(text="abc", domain="d", max_new_tokens=3)
    found, said = settled([plain], tokenizer())
    assert found == [plain]
    (sentence,) = said
    assert sentence.startswith("the prompts are continued as plain texts; m has a chat template")
    found, said = settled([plain], tokenizer(), chat=True)
    assert [one.text for one in found] == ["abc\n"]
    assert (found[0].domain, found[0].max_new_tokens, said) == ("d", 3, [])


def test_a_system_message_is_put_before_chats_that_have_none() -> None:
    chats: list[Prompt | Conversation] = [
        Conversation(messages=ASKED),
        Conversation(messages=SYSTEM),
    ]
    found, _ = settled(chats, tokenizer(), system="hfe")
    assert [one.text for one in found] == ["hfe. abc\n", "bad. abc\n"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((), "abc\n"), ((("thinking", True),), "abc\nth"), ((("thinking", False),), "abc\n")],
)
def test_arguments_reach_the_template(arguments: Any, text: str) -> None:
    found, _ = settled(
        [Conversation(messages=ASKED)], tokenizer(template=THINKING), template_args=arguments
    )
    assert [one.text for one in found] == [text]


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (None, {"chat": True}, "m has no chat template, .*: give plain prompts without --chat"),
        ({"a": TURNS, "b": TURNS}, {"chat": True}, "m has several chat templates, none of them"),
        (TURNS, {"system": "a"}, "--system is for chats, and the prompts are plain texts: add"),
        (TURNS, {"template_args": (("a", 1),)}, "--template-arg is for chats"),
        (THINKING, {"chat": True, "template_args": (("thinkin", 1),)}, "reads no 'thinkin': check"),
        (TURNS, {"chat": True, "template_args": (("tokenize", True),)}, "tokenize is no argument"),
        (TURNS, {"chat": True, "template_args": (("messages", 1),)}, "messages is no argument"),
        (REFUSING, {"chat": True, "system": "a"}, "fails .*no system.*or leave --system out"),
        (NO_SYSTEM, {"chat": True, "system": "hfe"}, "leaves the system message out"),
        ("{{ 1 // 0 }}", {"chat": True}, "the chat template of m on the prompt 'abc' fails"),
        ("{{ a b }}", {"chat": True}, "fails .TemplateSyntaxError"),
    ],
)
def test_what_no_template_can_write_is_refused(
    template: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        settled([Prompt(text="abc")], tokenizer(template=template), **options)


def test_a_conversation_that_the_template_refuses_is_named_by_its_line() -> None:
    chat = Conversation(messages=SYSTEM, place="p.jsonl, line 7")
    with pytest.raises(PromptError, match=r"of m on p\.jsonl, line 7 fails .*: mend the messages"):
        settled([chat], tokenizer(template=REFUSING))


def test_what_a_template_wrote_is_not_written_again() -> None:
    with pytest.raises(PromptError, match="begins with <s>, as if a chat template wrote it"):
        settled([Prompt(text="<s>abc")], tokenizer(), chat=True)


def test_a_template_that_writes_the_date_is_told_of() -> None:
    """A recording that is resumed the next day would find other prompts."""
    dated = TURNS + "{{ date_string if date_string is defined else strftime_now('%d') }}"
    _, said = settled([Conversation(messages=ASKED)], tokenizer(template=dated))
    assert "writes the date of the day" in said[0]
    fixed = (("date_string", "1 May"),)
    found, said = settled(
        [Conversation(messages=ASKED)], tokenizer(template=dated), template_args=fixed
    )
    assert (found[0].text, said) == ("abc\n1 May", [])


def test_prompts_are_made_of_chats_in_python() -> None:
    found = chat_prompts(tokenizer(template=THINKING), [ASKED], system="bad", thinking=True)
    assert [one.text for one in found] == ["bad. abc\nth"]
    with pytest.raises(PromptError, match="in conversation 1: wanted a last message that is not"):
        chat_prompts(tokenizer(), [[*ASKED, {"role": "assistant", "content": "a"}]])


def test_a_field_is_not_cut() -> None:
    with pytest.raises(InputError, match="--prompt-split cuts a text: leave one out"):
        PromptSource(prompt_field="a", prompt_split="file")  # type: ignore[arg-type]
