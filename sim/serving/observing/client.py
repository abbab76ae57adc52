"""Send one request over HTTP, and time what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from adadecode.profiles.errors import InputError
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.observing.answer import LONGEST_WORDS, Answer, FailedAnswer, FailureKind
from adadecode.sim.serving.observing.endpoint import Endpoint
from adadecode.sim.serving.observing.event_stream import EventStream
from adadecode.sim.serving.observing.observed_request import Failure

if TYPE_CHECKING:
    import httpx

EVENTS = "text/event-stream"

IDLE_S = 2.0
"""Seconds for which an idle connection is kept. Servers close them after five or more: one that is
closed just as a request goes out would look like a failure of the server."""

PROBE_S = 30.0
"""Most seconds that the list of models may take."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Nanoseconds since 1970, of a clock that only rises."""

    offset_ns: int = field(default_factory=lambda: time.time_ns() - time.perf_counter_ns())

    def now(self) -> int:
        """Return the time."""
        return self.offset_ns + time.perf_counter_ns()


@dataclass(frozen=True, kw_only=True)
class Received:
    """What came of a request.

    Attributes:
        end_ns: When it ended.
        answer: The answer, whole or not.
        failure: Why it failed; None where it did not.
    """

    end_ns: int
    answer: Answer
    failure: Failure | None


@dataclass(frozen=True, kw_only=True)
class Client:
    """Sends requests to one interface.

    Attributes:
        http: The connections.
        endpoint: The interface.
        model: Name of the model.
        more: Fields of the body that are added or replaced; see `Endpoint.body`.
        timeout_s: Most seconds of a request.
        clock: The clock.
    """

    http: httpx.AsyncClient
    endpoint: Endpoint
    model: str
    more: Mapping[str, Any]
    timeout_s: float
    clock: Clock

    async def ask(self, prompt: str, n_output: int) -> Received:
        """Send a prompt and wait for its answer. A failure is a part of what is returned."""
        import httpx

        answer, failure = Answer(chat=self.endpoint.chat), None
        body = self.endpoint.body(self.model, prompt, n_output, self.more)
        try:
            async with asyncio.timeout(self.timeout_s):
                failure = await self._stream(body, answer)
            if failure is None:
                answer.check()
        except FailedAnswer as failed:
            failure = Failure(kind=failed.kind, words=failed.words)
        except TimeoutError:
            failure = Failure(kind=FailureKind.TIMEOUT, words=f"no end in {self.timeout_s:g} s")
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            failure = Failure(kind=FailureKind.UNREACHABLE, words=_words(error))
        except (httpx.HTTPError, httpx.StreamError) as error:
            failure = Failure(kind=FailureKind.CLOSED, words=_words(error))
        return Received(end_ns=self.clock.now(), answer=answer, failure=failure)

    async def _stream(self, body: Mapping[str, Any], answer: Answer) -> Failure | None:
        """Fill an answer with what comes, until it ends."""
        async with self.http.stream("POST", self.endpoint.url, json=body) as response:
            if response.status_code != 200:
                words = await _beginning(response)
                return Failure(kind=FailureKind.STATUS, words=words, status=response.status_code)
            if not response.headers.get("content-type", "").startswith(EVENTS):
                kind = response.headers.get("content-type", "nothing")
                return Failure(kind=FailureKind.NOT_STREAMED, words=shown(kind)[:LONGEST_WORDS])
            events = EventStream()
            async for received in response.aiter_bytes():
                now_ns = self.clock.now()
                for data in _parsed(partial(events.feed, received)):
                    answer.take(data, now_ns)
            for data in _parsed(events.close):
                answer.take(data, self.clock.now())
        return None


def _parsed(events: Callable[[], list[str]]) -> list[str]:
    """Return the data of events. Raises FailedAnswer where the bytes are none."""
    try:
        return events()
    except ValueError as error:
        raise FailedAnswer(FailureKind.MALFORMED, _words(error)) from None


def open_connections(key: str | None) -> httpx.AsyncClient:
    """Return connections, as many as there are requests; the client sets all limits of time."""
    import httpx

    return httpx.AsyncClient(
        headers={} if key is None else {"Authorization": f"Bearer {key}"},
        limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S),
        timeout=httpx.Timeout(None),
    )


async def find_model(http: httpx.AsyncClient, endpoint: Endpoint, named: str | None) -> str:
    """Return the model to ask: the one that was named, or the only one of the server.

    Args:
        http: The connections.
        endpoint: The interface.
        named: The name that the user gave; then it is only seen whether anybody is there.

    Raises:
        InputError: If nobody is there, or no model was named and the server has not one alone.
    """
    import httpx

    listed: list[str] = []
    why = ""
    try:
        found = await http.get(endpoint.models_url, timeout=PROBE_S)
        if found.status_code == 200:
            listed = _names(found)
        else:
            why = f"status {found.status_code}"
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
        raise InputError(
            f"wanted a server at {endpoint.name}, got no connection ({_words(error)}): start it, "
            "or mend the address"
        ) from None
    except httpx.TimeoutException:
        why = f"no answer in {PROBE_S:g} s"
    except httpx.HTTPError as error:
        why = _words(error)
    if named is not None:
        return named
    if len(listed) != 1:
        got = why or ", ".join(map(shown, listed))[:200] or "none"
        key = "give a key that it takes with --api-key-env, or " if why == "status 401" else ""
        raise InputError(
            f"wanted one model in the list of {endpoint.name}, got {got}: {key}name one with "
            "--model"
        )
    return listed[0]


def _names(response: httpx.Response) -> list[str]:
    """Return the models in a list; none of an answer that is no list of them."""
    try:
        return [str(one["id"]) for one in response.json()["data"]]
    except (ValueError, LookupError, TypeError):
        return []


async def _beginning(response: httpx.Response) -> str:
    """Return the first words of a body."""
    read = b""
    async for received in response.aiter_bytes():
        read += received
        if len(read) >= LONGEST_WORDS:
            break
    return shown(" ".join(read.decode(errors="replace").split()))[:LONGEST_WORDS]


def _words(error: Exception) -> str:
    """Return what an error says, or its name where it says nothing."""
    return shown(str(error) or type(error).__name__)[:LONGEST_WORDS]
