"""The interface of a server that requests go to: OpenAI's completions, or its chat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from adadecode.profiles.errors import InputError
from adadecode.sim.core.shown_text import shown

EXAMPLE = "http://localhost:8000"

_TEXT, _CHAT = "/completions", "/chat/completions"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where requests go.

    Attributes:
        url: The address of the interface.
        chat: Whether prompts are the message of a user, and not a text to continue.
    """

    url: str
    chat: bool

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse the address of a server, or of one of its two interfaces.

        ``http://`` may be left out. The address of a server, or one that ends in ``/v1``, stands
        for its completions.

        Raises:
            InputError: If it is no address of HTTP, ends otherwise, holds a password, or names a
                host as none can be named.
        """
        parts = _parts(text)
        path = parts.path.rstrip("/")
        if not path:
            path = f"/v1{_TEXT}"
        elif path.endswith("/v1"):
            path = f"{path}{_TEXT}"
        if not path.endswith(_TEXT):
            raise InputError(
                f"wanted the address of a server, like {EXAMPLE}, or of its interface, like "
                f"{EXAMPLE}/v1{_CHAT}, got {shown(text)[:120]!r}"
            )
        url = urlunsplit(parts._replace(path=path))
        if not _is_sendable(url):
            raise InputError(
                f"wanted the address of a server, like {EXAMPLE}, got {shown(text)[:120]!r}, whose "
                "host has a name that no host can have: mend it"
            )
        return cls(url=url, chat=path.endswith(_CHAT))

    @property
    def models_url(self) -> str:
        """The address of the list of models."""
        parts = urlsplit(self.url)
        base = parts.path.removesuffix(_CHAT if self.chat else _TEXT)
        return urlunsplit(parts._replace(path=f"{base}/models"))

    @property
    def name(self) -> str:
        """The address without its query, which may hold a key."""
        return urlunsplit(urlsplit(self.url)._replace(query=""))

    def body(
        self, model: str, prompt: str, n_output: int, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what is sent: a greedy answer of at most so many tokens, as a stream.

        Args:
            model: Name of the model.
            prompt: The text.
            n_output: Most tokens of the answer.
            more: Fields that are added, or stand in the place of others; None takes one out.
        """
        asked: dict[str, Any] = (
            {"messages": [{"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}
        )
        body = {
            "model": model,
            **asked,
            "max_tokens": n_output,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **more,
        }
        return {name: value for name, value in body.items() if value is not None}


def _parts(text: str) -> SplitResult:
    """Return the parts of an address that can be used. Raises InputError."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of an address in brackets
        usable = False
    if not usable or not text.isprintable() or " " in text or parts.fragment:
        raise InputError(
            f"wanted the address of a server, like {EXAMPLE}, got {shown(text)[:120]!r}"
        )
    if parts.username is not None:
        raise InputError(
            "wanted an address without a user or a password, which would stand in the results: "
            "give the key in a variable of the environment, with --api-key-env"
        )
    return parts


def _is_sendable(url: str) -> bool:
    """Return whether httpx takes an address, and the system the name of its host."""
    import httpx

    try:
        httpx.URL(url).raw_host.decode("ascii").encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        return False
    return True


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise InputError unless fields can be added to a body."""
    try:
        json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError):
        raise InputError(
            f"wanted fields of JSON with finite numbers for the body, got {shown(fields)[:120]}: "
            "mend them"
        ) from None
