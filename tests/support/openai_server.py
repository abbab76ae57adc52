"""A small server with OpenAI's interface, which misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CLOSE = "Connection: close\r\n"
"""What every answer says: else the next request might go out as its connection is closed."""

EVENTS = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{CLOSE}"
CHUNKED = f"{EVENTS}Transfer-Encoding: chunked\r\n\r\n"
PLAIN = f"{EVENTS}\r\n"


@dataclass(kw_only=True)
class OpenAiServer:
    """What the server does, and what it was asked.

    Attributes:
        does: What it does with each request, in the order in which they come, over and over.
        models: The models that it lists; None for a server that lists none.
        list_status: The status with which it then refuses to list them; 0 for no answer.
        gap_s: Seconds before each token.
        asked: The path, the headers and the body of each request.
        together: Most requests that it answered at once.
        stop: Ends it.
    """

    does: Sequence[str] = ("good",)
    models: Sequence[str] | None = ("tiny",)
    list_status: int = 404
    gap_s: float = 0.0
    url: str = ""
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    together: int = 0
    stop: Callable[[], None] = lambda: None
    _now: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client did not wait
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        method, path, _ = head[0].split(" ")
        if method == "GET":
            await self._list(writer)
        else:
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            number = len(self.asked)
            self.asked.append((path, headers, body))
            self._now += 1
            self.together = max(self.together, self._now)
            try:
                await self._do(self.does[number % len(self.does)], body, writer)
            finally:
                self._now -= 1

    async def _list(self, writer: asyncio.StreamWriter) -> None:
        if self.models is None:
            if not self.list_status:
                await asyncio.sleep(60)
            writer.write(
                f"HTTP/1.1 {self.list_status} No\r\n{CLOSE}Content-Length: 0\r\n\r\n".encode()
            )
            return
        text = json.dumps({"data": [{"id": name} for name in self.models]})
        writer.write(
            f"HTTP/1.1 200 OK\r\n{CLOSE}Content-Length: {len(text)}\r\n"
            f"Content-Type: application/json\r\n\r\n{text}".encode()
        )

    async def _do(self, what: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if what.isdecimal():
            text = '{"error": "come back\\u001b[31m later"}'
            head = f"HTTP/1.1 {what} No\r\n{CLOSE}Content-Length: {len(text)}\r\n\r\n"
            writer.write((head + text).encode())
            return
        if what == "whole":
            text = '{"choices": [{"text": "all at once"}]}'
            head = f"HTTP/1.1 200 OK\r\n{CLOSE}Content-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
            return
        if what == "dropped":
            return  # not even a status
        events = self._events(body, what)
        if what == "split":  # bytes in the middle of events and of characters, other line ends
            writer.write(PLAIN.encode())
            whole = ": hello\r\n\r\n" + "".join(events).replace("\n", "\r\n")
            for byte in whole.encode():
                writer.write(bytes([byte]))
                await writer.drain()
            return
        writer.write(CHUNKED.encode())
        for place, event in enumerate(events):
            await asyncio.sleep(self.gap_s)
            data = event.encode(errors="surrogateescape")
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
            if what == "cut" and place == 1:
                return
            if what == "stuck" and place == 1:
                await asyncio.sleep(60)
        writer.write(b"0\r\n\r\n")

    def _events(self, body: dict[str, Any], what: str) -> list[str]:
        chat, count = "messages" in body, body["max_tokens"]
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        pieces = [_piece("", chat=chat)] if chat else []
        pieces += [_piece("é ", chat=chat) for _ in range(count)]
        if what == "silent":
            pieces = [_piece("", chat=chat)]
        last = _piece("", chat=chat)
        last["choices"][0]["finish_reason"] = "length"
        usage = {"prompt_tokens": len(prompt.split()) + 2, "completion_tokens": count}
        if what == "unfinished":
            return [_event(one) for one in pieces]
        data = [*pieces, last]
        if what != "uncounted":
            data.append({"choices": [], "usage": usage})
        found = [_event(one) for one in data] + ["data: [DONE]\n\n"]
        if what == "burst":  # two tokens at once
            found[:2] = [found[0] + found[1]]
        if what == "malformed":
            found[1] = "data: {\n\n"
        if what == "strange":
            found[1] = 'data: {"choices": 3}\n\n'
        if what == "garbled":  # no UTF-8
            found[1] = "data: \udcff\n\n"
        if what == "sorry":
            found[1] = 'data: {"error": {"message": "out of memory"}}\n\n'
        return found


def _piece(text: str, *, chat: bool) -> dict[str, Any]:
    said = {"delta": {"content": text}} if chat else {"text": text}
    return {"choices": [{**said, "finish_reason": None}], "usage": None}


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


@contextmanager
def openai_server(**options: Any) -> Iterator[OpenAiServer]:
    """Run a server in a thread while the block runs."""
    server = OpenAiServer(**options)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    def end() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    server.stop = end

    async def run() -> None:
        listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        listening.close()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(run())
        left = asyncio.all_tasks(loop)
        for one in left:
            one.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0.01))  # connections are closed a turn later
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(10)
        yield server
    finally:
        end()
        thread.join(10)
