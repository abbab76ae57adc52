"""Numbers and foreign text as a report writes them.

Text that came out of a file is foreign: a model may be called ``<script>``. The page escapes it by itself (jinja2); the three functions at the
end are for everywhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.report import formatting

NOTHING = "\u2013"
"""Stands where a number is not known."""

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~!])")


def known(number: object) -> bool:
    """Whether this is a number at all."""
    return isinstance(number, int | float) and not math.isnan(number)


def times(ratio: float) -> str:
    """A speedup: ``2.13x``."""
    return f"{ratio:.2f}×" if known(ratio) else NOTHING


def span(low: float, high: float) -> str:
    """An interval of speedups: ``(2.03 .. 2.21)``; nothing where it is not known or has no width."""
    return (
        f"({low:.2f}\u00a0..\u00a0{high:.2f})" if known(low) and known(high) and low < high else ""
    )


def gain(ratio: float, low: float, high: float) -> str:
    """A speedup with its interval, if it has one: ``2.13x (2.03 .. 2.21)``."""
    return f"{times(ratio)} {span(low, high)}".rstrip()


def milliseconds(seconds: float) -> str:
    """``8.77 ms``, with three digits that count."""
    return f"{significant(seconds * 1e3)} ms" if known(seconds) else NOTHING


def percent(share: float) -> str:
    """``2.8 %``; with two digits that count below 1 %: ``0.02 %``."""
    if not known(share):
        return NOTHING
    return (
        f"{share * 100:.1f} %"
        if abs(share) >= 0.01 or share == 0
        else f"{significant(share * 100, 2)} %"
    )


def count(number: float) -> str:
    """``12,288``."""
    return f"{number:,.0f}" if known(number) else NOTHING


def scaled(number: float, unit: str) -> str:
    """``22.6 MFLOP``; three digits that count."""
    if not known(number):
        return NOTHING
    scale, prefix = next((pair for pair in _PREFIXES if abs(number) >= pair[0]), (1.0, ""))
    return f"{significant(number / scale)} {prefix}{unit}"


def significant(number: float, digits: int = 3) -> str:
    """Rounded to so many digits that count, never in the notation 1e+05."""
    if not known(number):
        return NOTHING
    if number == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    return f"{round(number, decimals):,.{max(decimals, 0)}f}"


def listed(words: Iterable[object], most: int = 6) -> str:
    """``a, b, c``; beyond ``most`` of them, how many more."""
    items = [str(word) for word in words]
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def plural(number: int, noun: str) -> str:
    """``1 prompt``, ``16 prompts``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def heads(placement: Sequence[int]) -> str:
    """``heads 3/7``."""
    return (
        f"head{'s' if len(placement) > 1 else ''} {'/'.join(map(str, placement))}"
        if len(placement)
        else "no heads"
    )


def gammas(values: Sequence[float]) -> str:
    """``0.75``, or ``0.9/0.7`` where they differ."""
    return "/".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1]))


def in_plot(text: object) -> str:
    """For plotly, which reads a little HTML in every title, name, tick and hover text, but knows no entity for quotes."""
    return escape(str(text), quote=False)


def in_markdown(text: object) -> str:
    """For a line or a cell of Markdown: no markup, no HTML, no line break."""
    return escape(_MARKDOWN.sub(r"\\\1", " ".join(str(text).split())), quote=False)


def in_csv(value: object) -> object:
    """For a cell that a spreadsheet opens: text that it would take for a formula gets a quote before it."""
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


def safe_csv(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose text, and names of columns, no spreadsheet takes for a formula; lists joined by slashes."""
    columns = {}
    for name in frame.columns:
        values = frame[name]
        if not pd.api.types.is_numeric_dtype(values):
            values = values.map(
                lambda value: (
                    "/".join(map(str, value)) if isinstance(value, tuple | list) else value
                )
            ).map(in_csv)
        columns[in_csv(name)] = values
    return pd.DataFrame(columns)


def design_words(design: dict[str, Any]) -> str:
    """A design as one says it: ``heads 3/7 at gamma 0.8``."""
    policy, placement, gammas = (
        str(design["policy"]),
        tuple(design["placement"]),
        tuple(design["gammas"]),
    )
    if policy == Policy.VANILLA or not placement:
        return "vanilla"
    cap = (
        f", at most {formatting.plural(int(design['cap']), 'draft')} a round"
        if int(design["cap"]) != 5
        else ""
    )
    said = {
        "adadecode": f"{formatting.heads(placement)} at gamma {formatting.gammas(gammas)}{cap}",
        "fixed": f"{formatting.plural(int(design['cap']), 'fixed draft')} a round from head {placement[0]}",
        "oracle": f"the oracle on {formatting.heads(placement)}{cap}",
    }
    return said.get(
        policy,
        f"{policy} with {formatting.heads(placement)} at gamma {formatting.gammas(gammas)}{cap}",
    )
