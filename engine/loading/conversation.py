"""Conversations: what was said to a model in turns, up to where it is to answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adadecode.engine.loading.prompts import DOMAIN, checked_length
from adadecode.profiles.errors import PromptError

ASSISTANT, SYSTEM, USER, TOOL = "assistant", "system", "user", "tool"

SPEAKERS = {
    **dict.fromkeys(("human", "user"), USER),
    **dict.fromkeys(("gpt", "assistant", "model", "chatgpt", "bing", "bard"), ASSISTANT),
    "system": SYSTEM,
    **dict.fromkeys(("tool", "observation", "function_response"), TOOL),
}
"""Roles of ShareGPT's ``from``."""

ROLES = (SYSTEM, "developer", USER, ASSISTANT, TOOL, "function")
"""Roles of messages, as OpenAI's interface has them."""

Message = Mapping[str, Any]
"""A ``role``, a ``content``, and whatever else the chat template reads."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Messages to answer.

    Attributes:
        messages: What was said, each a ``role`` with its ``content``, and what else a chat
            template reads. The last is not the model's.
        domain: The domain to report it under.
        max_new_tokens: How many tokens to add at most; None for the recording's own number.
        place: Where it stands, for messages.

    Raises:
        PromptError: There is nothing to answer, a message is none, or the number is none from 1 on.
    """

    messages: tuple[Message, ...]
    domain: str = DOMAIN
    max_new_tokens: int | None = None
    place: str = field(default="the conversation", compare=False)

    def __post_init__(self) -> None:
        found = tuple(_checked(one, self.place) for one in _listed(self.messages, self.place))
        object.__setattr__(self, "messages", found)
        if not any(one["role"] != SYSTEM for one in found) or found[-1]["role"] == ASSISTANT:
            raise PromptError(
                f"there is nothing to answer in {self.place}: wanted a last message that is not "
                "the model's own"
            )
        count = checked_length(self.max_new_tokens, f"max_new_tokens in {self.place}")
        object.__setattr__(self, "max_new_tokens", count)

    @property
    def said(self) -> str:
        """What was said, a line a message; those without text, as calls of tools, are left out."""
        return "\n".join(filter(None, (one.get("content") for one in self.messages)))

    def with_system(self, text: str | None) -> Conversation:
        """Return it under a system message; as it is where it has its own, or for None."""
        if text is None or self.messages[0]["role"] == SYSTEM:
            return self
        return replace(self, messages=({"role": SYSTEM, "content": text}, *self.messages))


def without_answer(messages: Sequence[Message]) -> list[Message]:
    """Return messages without those of the model at their end, which are what it would write."""
    count = len(messages)
    while count and messages[count - 1]["role"] == ASSISTANT:
        count -= 1
    return list(messages[:count])


def without_opening(messages: Sequence[Message]) -> list[Message]:
    """Return messages without those of the model before anybody else's: an answer to what is cut.

    Messages of the system are nobody's.
    """
    first = next(
        (at for at, one in enumerate(messages) if one["role"] in {USER, TOOL}), len(messages)
    )
    opening = [one for one in messages[:first] if one["role"] != ASSISTANT]
    return [*opening, *messages[first:]]


def openai_messages(values: Iterable[Any], place: str) -> list[Message]:
    """Return ``messages`` as OpenAI's interface takes them, their contents as texts.

    Raises:
        PromptError: One is none, or holds something else than text.
    """
    return [_checked(value, place) for value in values]


def sharegpt_messages(values: Iterable[Any], place: str) -> list[Message]:
    """Return ``conversations`` of ShareGPT's form as messages.

    Raises:
        PromptError: One is none, or nobody knows who says it.
    """
    found: list[Message] = []
    for value in values:
        speaker = value.get("from") if isinstance(value, Mapping) else None
        if speaker not in SPEAKERS or not isinstance(value.get("value"), str):
            raise PromptError(
                f'wanted turns with "from" (one of {", ".join(SPEAKERS)}) and a text as "value" in '
                f"{place}, got {_short(value)}: mend it, or leave the conversation out"
            )
        found.append({"role": SPEAKERS[speaker], "content": value["value"]})
    return found


def _listed(values: object, place: str) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise PromptError(
            f'wanted a list of messages, each with "role" and "content", in {place}, got '
            f"{_short(values)}: give a list, also of one"
        )
    return list(values)


def _checked(value: Any, place: str) -> Message:
    """Return a message with its content as one text."""
    message: Message = value if isinstance(value, Mapping) else {}
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise PromptError(
            f'wanted messages with "role" and "content", the role one of {", ".join(ROLES)}, in '
            f"{place}, got {_short(value)}: mend it, or leave the conversation out"
        )
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return dict(message)
    return {**message, "content": _text(content, f"the {role}'s message in {place}")}


def _text(content: Any, where: str) -> str:
    """Return the content of a message as one text: parts stand on lines of their own."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) and content else [None]
    texts = []
    for one in parts:
        part: Message = one if isinstance(one, Mapping) else {}
        kind = part.get("type")
        if kind != "text" or not isinstance(part.get("text"), str):
            got = f"a part of type {kind!r}" if isinstance(kind, str) else _short(content)
            raise PromptError(
                f"wanted the content of {where} as a text or as parts of type 'text', got {got}: "
                "only text is decoded here, leave the rest or the conversation out"
            )
        texts.append(part["text"])
    return "\n".join(texts)


def _short(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)[:60]
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:60]
