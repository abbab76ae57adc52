"""Figures in words, and foreign text, as a report writes them.

Text from a file is foreign: a model may be called ``<script>``. The page escapes it by itself
(jinja2); `in_plot`, `in_markdown` and `in_csv` are for everywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from unicodedata import category, normalize

import pandas as pd

from adadecode.sim.core import number_format
from adadecode.sim.core.design import DEFAULT_CAP, Policy
from adadecode.sim.core.number_format import PREFIXES, UNKNOWN, known, significant
from adadecode.sim.core.shown_text import shown

_FORMULA = ("=", "+", "-", "\N{MINUS SIGN}", "@")
"""What a formula begins with in a spreadsheet."""

_MARKDOWN = re.compile(r"([\\`*_\[\]|#~!$])")


def times(ratio: float) -> str:
    """Write a speedup: ``2.13×``."""
    return number_format.times(ratio, sign="×")


def span(low: float, high: float) -> str:
    """Write an interval of speedups, ``(2.03 .. 2.21)``; nothing if unknown or without width."""
    return (
        f"({low:.2f}\u00a0..\u00a0{high:.2f})" if known(low) and known(high) and low < high else ""
    )


def gain(ratio: float, low: float, high: float) -> str:
    """Write a speedup with its interval, if it has one: ``2.13× (2.03 .. 2.21)``."""
    return f"{times(ratio)} {span(low, high)}".rstrip()


def milliseconds(seconds: float) -> str:
    """Write seconds as milliseconds, to three significant digits: ``8.77 ms``."""
    return f"{significant(seconds * 1e3)} ms" if known(seconds) else UNKNOWN


def count(number: float) -> str:
    """Write a count: ``12,288``."""
    return f"{number:,.0f}" if known(number) else UNKNOWN


def scaled(number: float, unit: str) -> str:
    """Write a quantity with a prefix, to three significant digits: ``22.6 MFLOP``."""
    if not known(number):
        return UNKNOWN
    scale, prefix = next((pair for pair in PREFIXES if abs(number) >= pair[0] >= 1), (1.0, ""))
    return f"{significant(number / scale)} {prefix}{unit}"


def listed(words: Iterable[object], most: int = 6) -> str:
    """Join words, ``a, b, c``; beyond ``most`` of them, write how many more there are."""
    items = [str(word) for word in words]
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def plural(number: int, noun: str) -> str:
    """Write a count with its noun: ``1 prompt``, ``16 prompts``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sentence(text: str) -> str:
    """Start with a capital, and end with a full stop unless there is a mark."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def heads(placement: Sequence[int]) -> str:
    """Write a placement: ``heads 3/7``."""
    return (
        f"head{'s' if len(placement) > 1 else ''} {'/'.join(map(str, placement))}"
        if len(placement)
        else "no heads"
    )


def gammas(values: Sequence[float]) -> str:
    """Write thresholds: ``0.75``, or ``0.9/0.7`` where they differ."""
    return "/".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1]))


def describe_design(design: Mapping[str, Any]) -> str:
    """Describe a design in words: ``heads 3/7 at gamma 0.8``.

    Args:
        design: Its policy, placement, gammas and cap by these names, and gates where it asks any.
    """
    policy, cap = str(design["policy"]), int(design["cap"])
    placement, thresholds = tuple(design["placement"]), tuple(design["gammas"])
    if policy == Policy.VANILLA or not placement:
        return "vanilla"
    limit = f", at most {plural(cap, 'draft')} a round" if cap != DEFAULT_CAP else ""
    if policy == Policy.ADADECODE:
        gates = tuple(design.get("gates") or ())
        asked = f" behind gates at {gammas(gates)}" if any(gates) else ""
        return f"{heads(placement)} at gamma {gammas(thresholds)}{asked}{limit}"
    if policy == Policy.FIXED:
        return f"{plural(cap, 'fixed draft')} a round from head {placement[0]}"
    if policy == Policy.ORACLE:
        return f"the oracle on {heads(placement)}{limit}"
    return f"{policy} with {heads(placement)} at gamma {gammas(thresholds)}{limit}"


def is_plural(design: Mapping[str, Any]) -> bool:
    """Return whether the verb after `describe_design` is in the plural.

    Args:
        design: As of `describe_design`.
    """
    placement = tuple(design["placement"])
    if design["policy"] == Policy.FIXED and placement:
        return int(design["cap"]) != 1
    return design["policy"] == Policy.ADADECODE and len(placement) > 1


def in_plot(text: object) -> str:
    """Escape text for plotly.

    Plotly reads a little HTML in every title, name, tick and hover text, but knows no entity for
    quotes.
    """
    return escape(shown(text), quote=False)


def in_markdown(text: object) -> str:
    """Escape text for a line or a cell of Markdown: no markup, no HTML, no line break."""
    words = shown(" ".join(str(text).split()))
    return escape(_MARKDOWN.sub(r"\\\1", words), quote=False)


def in_csv(value: object) -> object:
    """Put a quote before text that a spreadsheet may take for a formula.

    That is text that begins with a sign of one, in any width, or with something that a spreadsheet
    may pass over before it looks for the sign. What a terminal would obey is written out.
    """
    if not isinstance(value, str) or not value:
        return value
    first = normalize("NFKC", value[0])
    unseen = first.isspace() or category(value[0]) == "Cf" or shown(first) != first
    begins = unseen or first in _FORMULA
    return f"'{shown(value)}" if begins else shown(value)


def safe_csv(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table of which no spreadsheet takes a cell or a heading for a formula.

    Lists are joined by slashes.
    """
    columns = {}
    for name in frame.columns:
        values = frame[name]
        if not pd.api.types.is_numeric_dtype(values):
            values = values.map(_joined).map(in_csv)
        columns[in_csv(name)] = values
    return pd.DataFrame(columns)


def _joined(value: object) -> object:
    return "/".join(map(str, value)) if isinstance(value, tuple | list) else value
