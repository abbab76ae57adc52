"""Changes of texts that people write: TOML, CSV, prompts and the arguments of commands."""

from __future__ import annotations

import random
import re
from typing import Any

from scripts.fuzz.values import DEEP, VALUES, value_of

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")

SIGNS = (
    *("-", "+", ",", ".", ":", ";", "=", "/", "%", "'", '"', "[", "]", "{", "}", "#", "\\", "\t"),
    *("\n", "\r\n", "\0", "\x1b[31m", "\ufeff", "\u2028", "\u202e", "\uff11", "é", "\U0001f600"),
)

NUMBERS = (
    *("0", "-0", "-1", "1", "2", "3.5", "1e9", "1e-300", "1e37", "1e300", "1e400", "nan", "inf"),
    *("-inf", "9" * 40, "9" * 5000, "0x10", "1_000", "١٢", "", "true", "None", "2147483648"),
)

LITERALS = (
    *('""', '"x"', '"12"', "true", "[]", "[1]", "{}", "{ x = 1 }", "nan", "inf", "-1", "0", "1e37"),
    *("1e-300", "1e300", "9" * 40, '"[/x]"', '"\\u001b[2J"', "1979-05-27", "deep", '"""', "'"),
)
"""Values of TOML."""


def draw(source: random.Random, text: str) -> tuple[str, tuple[Any, ...], Any]:
    """Draw a change of a text: its name, where, and a value."""
    lines = max(1, len(text.splitlines()))
    changes = ["number"] * 4 + ["insert", "remove", "line twice", "line away", "value", "whole"]
    change = source.choice(changes)
    if change == "number":
        count = max(1, len(_NUMBER.findall(text)))
        return "text number", (source.randrange(count),), source.choice(NUMBERS)
    if change == "insert":
        return "text insert", (source.randrange(len(text) + 1),), source.choice(SIGNS)
    if change == "remove":
        start = source.randrange(len(text) + 1)
        return "text remove", (start, source.choice((1, 2, 8, 10**6))), None
    if change == "value":
        return "text value", (source.randrange(lines),), source.choice(LITERALS)
    if change == "whole":
        texts = [name for name, value in VALUES.items() if isinstance(value, str)]
        return "text whole", (), source.choice(texts)
    return f"text {change}", (source.randrange(lines),), None


def apply(change: str, text: str, at: tuple[Any, ...], value: Any) -> str:  # noqa: ANN401
    """Return a text changed."""
    kind = change.removeprefix("text ")
    if kind == "number":
        return _number(text, at[0], value)
    if kind == "insert":
        return text[: at[0]] + value + text[at[0] :]
    if kind == "remove":
        return text[: at[0]] + text[at[0] + at[1] :]
    if kind == "whole":
        return deep(value_of(value))
    lines = text.splitlines(keepends=True)
    line = at[0] if at[0] < len(lines) else 0
    if kind == "line twice":
        lines[line:line] = lines[line : line + 1]
    elif kind == "line away":
        lines[line : line + 1] = []
    elif lines and "=" in lines[line]:
        lines[line] = f"{lines[line].partition('=')[0]}= {deep(value)}\n"
    return "".join(lines)


def deep(text: str) -> str:
    """Return a text, with ``deep`` replaced by brackets within brackets."""
    return "[" * DEEP + "]" * DEEP if text in {"deep", VALUES["deep"]} else text


def _number(text: str, index: int, value: str) -> str:
    """Return a text with its number of this index replaced."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return text + value
    one = found[index % len(found)]
    return text[: one.start()] + value + text[one.end() :]
