"""One answer as it comes in, event by event. No clock and no socket: both are the caller's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from adadecode.sim.core.scalars import whole_number
from adadecode.sim.core.shown_text import shown

DONE = "[DONE]"
"""The data of the event after the last."""

LONGEST_WORDS = 200
"""Characters of what a server says that are kept."""


class FailureKind(StrEnum):
    """How a request fails.

    ==============  ===============================================================================
    unreachable     No connection: refused, reset, or no such host.
    timeout         The answer was not whole in time.
    closed          The connection ended before the answer did.
    status          The server answered with another status than 200.
    not streamed    The answer is no stream of events.
    malformed       An event holds something else than a piece of an answer.
    server error    An event says that the server failed.
    no tokens       The answer is whole and has no text.
    no usage        The answer does not say how many tokens there were.
    ==============  ===============================================================================
    """

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    STATUS = "status"
    NOT_STREAMED = "not streamed"
    MALFORMED = "malformed"
    SERVER_ERROR = "server error"
    NO_TOKENS = "no tokens"
    NO_USAGE = "no usage"


class FailedAnswer(Exception):
    """Raised where a request fails: its kind, and what the server or the system said."""

    def __init__(self, kind: FailureKind, words: str) -> None:
        super().__init__(kind, words)
        self.kind, self.words = kind, shown(words)[:LONGEST_WORDS]


class Answer:
    """What has come of an answer.

    Attributes:
        chunk_ns: When each piece of text came, in nanoseconds; pieces that came at once are one.
        n_prompt: Tokens of the prompt, as the server counts; None as long as it did not say.
        n_output: Tokens of the answer, as the server counts.
        ended: Whether the server said that the answer is whole.
    """

    def __init__(self, *, chat: bool) -> None:
        self.chat = chat
        self.chunk_ns: list[int] = []
        self.n_prompt: int | None = None
        self.n_output: int | None = None
        self.ended = False

    def take(self, data: str, now_ns: int) -> None:
        """Take the data of one event.

        Raises:
            FailedAnswer: If it is no piece of an answer.
        """
        if data.strip() == DONE:
            self.ended = True
            return
        event = _event(data)
        if event.get("error"):
            raise FailedAnswer(FailureKind.SERVER_ERROR, json.dumps(event["error"]))
        choices = event.get("choices")
        if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
            raise FailedAnswer(FailureKind.MALFORMED, f"an event without choices: {data}")
        for choice in choices:
            if self._has_text(choice) and self.chunk_ns[-1:] != [now_ns]:
                self.chunk_ns.append(now_ns)
            self.ended = self.ended or choice.get("finish_reason") is not None
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.n_prompt = whole_number(usage.get("prompt_tokens"))
            self.n_output = whole_number(usage.get("completion_tokens"))

    def check(self) -> None:
        """Raise FailedAnswer unless the answer is whole and says what it took."""
        if not self.ended:
            raise FailedAnswer(FailureKind.CLOSED, "the stream ended before the answer did")
        if not self.chunk_ns:
            raise FailedAnswer(FailureKind.NO_TOKENS, "no event had any text")
        if not (self.n_prompt and self.n_output and self.n_prompt > 0 < self.n_output):
            raise FailedAnswer(
                FailureKind.NO_USAGE,
                f"{self.n_prompt} tokens of the prompt and {self.n_output} of the answer",
            )

    def _has_text(self, choice: Mapping[str, Any]) -> bool:
        """Return whether a choice brings text. An answer of a chat may begin with thoughts."""
        if not self.chat:
            return bool(choice.get("text"))
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return False
        pieces = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")
        return any(delta.get(one) for one in pieces)


def _event(data: str) -> dict[str, Any]:
    """Return the object in an event. Raises FailedAnswer where there is none."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise FailedAnswer(FailureKind.MALFORMED, f"an event that is no object of JSON: {data}")
    return event
