"""Addresses of servers and of their interfaces, and what is sent to them."""

from __future__ import annotations

import pytest

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.observing.endpoint import Endpoint

pytest.importorskip("httpx", reason="knows which addresses it takes: install the extra 'observe'")


@pytest.mark.parametrize(
    ("typed", "url", "models", "chat"),
    [
        ("localhost:8000", "http://localhost:8000/v1/completions", "/v1/models", False),
        ("http://h/", "http://h/v1/completions", "/v1/models", False),
        ("https://h/v1", "https://h/v1/completions", "/v1/models", False),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions", "/v1/models", True),
        ("http://h/x/completions?v=1", "http://h/x/completions?v=1", "/x/models?v=1", False),
        ("http://bücher.de", "http://bücher.de/v1/completions", "/v1/models", False),
        ("http://[::1]:80", "http://[::1]:80/v1/completions", "/v1/models", False),
    ],
)
def test_an_address_stands_for_an_interface(typed: str, url: str, models: str, chat: bool) -> None:
    found = Endpoint.parse(typed)
    assert (found.url, found.chat) == (url, chat)
    assert found.models_url.endswith(models)
    assert "?" not in found.name


@pytest.mark.parametrize(
    "typed",
    [
        *("", "http://", "ftp://h", "http://h:x", "http://h:0", "http://h/api", "http://h/#a"),
        *("a b", "http://☃.example", "http://a..b", f"http://{64 * 'a'}.b"),
    ],
)
def test_what_is_no_such_address_is_refused(typed: str) -> None:
    with pytest.raises(InputError, match="wanted the address of a server"):
        Endpoint.parse(typed)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="--api-key-env") as raised:
        Endpoint.parse("http://me:secret@h")
    assert "secret" not in str(raised.value)


def test_fields_are_added_replaced_and_taken_out() -> None:
    body = Endpoint.parse("h").body("m", "hello", 7, {"temperature": 1, "stream_options": None})
    assert body == {
        "model": "m", "prompt": "hello", "max_tokens": 7, "temperature": 1, "stream": True,
    }  # fmt: skip
    chat = Endpoint.parse("h/v1/chat/completions").body("m", "hello", 7, {})
    assert chat["messages"] == [{"role": "user", "content": "hello"}]
    assert "prompt" not in chat
