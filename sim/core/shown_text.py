r"""Foreign text as it may be shown: what a terminal or a browser would obey is written out.

Names of models, domains, processors and files come from files that others wrote. A name may hold
an escape that clears the screen, an override that turns the line around, or a line break that
begins a line of its own. `shown` writes such characters as Python does in a literal: ``\x1b``.
"""

from __future__ import annotations

import unicodedata

_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that are obeyed and not seen: controls, formats, halves of pairs, and
separators of lines and paragraphs."""

_JOINERS = "\u200c\u200d"
"""Characters of format that words of some languages, and emoji, cannot do without."""


def shown(text: object, *, lines: bool = False) -> str:
    """Return text in which every character is seen, and none is obeyed.

    Args:
        text: Anything; a name from a file as a rule.
        lines: Whether line breaks stay, for text of several lines that are our own.
    """
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return "".join(
        char if _is_seen(char) or (lines and char == "\n") else _written_out(char) for char in words
    )


def _is_seen(char: str) -> bool:
    return unicodedata.category(char) not in _OBEYED or char in _JOINERS


def _written_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
