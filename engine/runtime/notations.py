"""How lists of options are written as text, on a command line and in a manifest."""

from __future__ import annotations

import json
from typing import Any

from adadecode.engine.runtime.option_fields import Notation
from adadecode.profiles.errors import DesignError, InputError
from adadecode.profiles.input_file import parse_json
from adadecode.sim.core import parsing


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _thresholds(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise DesignError(
            f"wanted {option} as numbers in [0, 1], like 0.5,0.75, got {text!r}"
        ) from None


def _placements(option: str, text: str) -> tuple[tuple[int, ...], ...]:
    return tuple(parsing.rising_integers(option, part) for part in text.split(";"))


def _words(option: str, text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise InputError(f"wanted {option} as one name or more, separated by commas, got {text!r}")
    return words


def _strings(option: str, text: str) -> tuple[str, ...]:
    if not text:
        raise InputError(f"wanted {option} as a text, or as JSON, got none: [] stands for no text")
    if not text.startswith(("[", '"')):
        if "\\" in text:
            raise InputError(
                f"wanted {option} as a text or as JSON, got a backslash in {text!r}, which is one "
                f"in a text: write JSON, like {option} '\"\\n\\n\"' for two line ends"
            )
        return (text,)
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    strings = [found] if isinstance(found, str) else found
    if not isinstance(strings, list) or not all(isinstance(one, str) for one in strings):
        raise InputError(
            f'wanted {option} as a text, or as JSON like ["\\n\\n", "User:"], got {text!r}'
        )
    return tuple(strings)


def _head_map(_option: str, text: str) -> tuple[tuple[int, int], ...]:
    return tuple(parsing.parse_head_map(text).items())


_WORDS = {"true": True, "false": False, "null": None, "none": None}
"""Words of a template argument that stand for values, in JSON's spelling and in Python's."""


def _template_arguments(option: str, text: str) -> tuple[tuple[str, Any], ...]:
    if text.lstrip().startswith("{"):
        found = parse_json(text, option)
        pairs = tuple(found.items())
    else:
        name, equals, word = text.partition("=")
        if not equals:
            raise InputError(f"wanted {option} as NAME=VALUE, got {text!r}: like thinking=false")
        pairs = ((name.strip(), _template_value(word.strip())),)
    for name, _ in pairs:
        if not name.isidentifier():
            raise InputError(
                f"wanted {option} as NAME=VALUE, got the name {name!r}: letters, digits and _ make "
                "a name"
            )
    return pairs


def _template_value(word: str) -> Any:
    """Return what a word means: a number, true, false, null, other JSON, or itself."""
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    try:
        return parse_json(word, "a value")
    except InputError:
        return word


THRESHOLDS = Notation(parse=_thresholds, write=lambda values: ",".join(map(number_text, values)))
"""Numbers between commas: ``0.5,0.75``."""

INTEGERS = Notation(parse=parsing.rising_integers, write=lambda values: ",".join(map(str, values)))
"""Whole numbers from 1 on, between commas, rising: ``4,8``."""

PLACEMENTS = Notation(parse=_placements, write=lambda value: ";".join(map(INTEGERS.write, value)))
"""Lists of depths between semicolons: ``4;8;4,8``."""

WORDS = Notation(parse=_words, write=",".join)
"""Words between commas."""

STRINGS = Notation(parse=_strings, write=json.dumps)
"""One text as it is, or several as a JSON list: ``["\\n\\n", "User:"]``."""

HEAD_MAP = Notation(
    parse=_head_map,
    write=lambda pairs: ",".join(f"{depth}:{place}" for depth, place in pairs),
)
"""Depths of heads and where they stand in another model: ``3:6,7:14``."""


def _depths(option: str, text: str) -> tuple[int, ...] | str:
    if text.strip() == "all":
        return "all"
    try:
        return tuple(sorted(int(word) for word in text.split(",")))
    except ValueError:
        raise InputError(f"wanted {option} such as 4,8,12, or all, got {text!r}") from None


DEPTHS = Notation(
    parse=_depths,
    write=lambda value: value if isinstance(value, str) else ",".join(map(str, value)),
)
"""Depths between commas, in any order, or ``all``."""

TEMPLATE_ARGUMENTS = Notation(
    parse=_template_arguments, write=lambda pairs: json.dumps(dict(pairs)), repeats=True
)
"""``NAME=VALUE``, each given by itself, or one JSON object. Values are JSON, or else words."""
