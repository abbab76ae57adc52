"""Extreme values by name, so that a recipe holds a name in place of a long text."""

from __future__ import annotations

from typing import Any

DEEP = 100_000
"""Levels of the deepest nesting."""

TAG = "<script>fuzz()</script>"
"""Markup that must never stand in a page as it is."""

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "0": 0,
    "1": 1,
    "2": 2,
    "-1": -1,
    "1000": 1000,
    "1e9": 10**9,
    "2**31": 2**31,
    "2**63": 2**63,
    "10**40": 10**40,
    "0.5": 0.5,
    "1.5": 1.5,
    "1e-300": 1e-300,
    "1e37": 1e37,
    "1e300": 1e300,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "empty text": "",
    "space": " ",
    "text": "x",
    "number text": "12",
    "long text": "long " * 20_000,
    "markup": "[/x][bold red]y",
    "tag": TAG,
    "escape": "a\x1b[2J\x1b]0;b\x07c",
    "newlines": "a\nb\r\nc\td",
    "null byte": "a\0b",
    "surrogate": "a\ud800b",
    "right to left": "\u202eabc\u2066",
    "full width": "\uff1d1+1",
    "formula": "=1+1",
    "path": "../../../etc/passwd",
    "empty list": [],
    "empty object": {},
    "list of null": [None],
    "list of text": ["x"],
    "list of numbers": [1, 2],
    "list of list": [[1]],
    "long list": [1] * 20_000,
    "object": {"x": 1},
    "deep": "\0deep\0",
    "nested": [[[[[[[[[[[[{"x": [[]]}]]]]]]]]]]]],
}
"""Every value; ``deep`` is replaced in the text that is written, because no library writes it."""

NUMBERS = tuple(
    name
    for name, value in VALUES.items()
    if isinstance(value, (int, float)) and not isinstance(value, bool)
)
"""The names of the numbers."""

TEXTS = tuple(name for name, value in VALUES.items() if isinstance(value, str) and name != "deep")
"""The names of the texts."""


def value_of(name: object) -> Any:  # noqa: ANN401 - any value of JSON
    """Return the value of a name; a number, and an unknown text, is itself."""
    return VALUES.get(name, name) if isinstance(name, str) else name
