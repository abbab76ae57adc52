"""What a case came to, and whether that is as it should be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

LONGEST_MESSAGE = 600
"""Characters of the longest refusal; the path of the case is short."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")

_FIRST = re.compile(r"^(?=error)", re.MULTILINE)
"""Where a refusal begins; notes and progress may stand before it."""

_USAGE = "Usage: "


class End(StrEnum):
    """How a case ended. Only the first three are as they should be."""

    REFUSED = "refused"
    SAME = "same answer"
    OTHER = "another answer"
    MESSAGE = "bad message"
    WARNING = "warning"
    MARKUP = "markup obeyed"
    TRACEBACK = "traceback"
    HANG = "hang"
    MEMORY = "memory"
    CRASH = "crash"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case ended.

    Attributes:
        end: The kind.
        detail: The refusal, the last lines of a traceback, or where an answer first differs.
        where: What distinct faults are told apart by; empty for the ends that are as they should
            be.
    """

    end: End
    detail: str = ""
    where: str = ""


def of_refusal(message: str, *, printed: bool = True) -> Outcome:
    """Return the outcome of a refusal: one sentence, short, that obeys no control characters.

    Args:
        message: What an error says, or all that stands on stderr.
        printed: Whether it stands on stderr. Commands write out what a terminal would obey; an
            error in Python holds texts as they are.
    """
    text = _FIRST.split(message, 1)[-1].strip()
    # Typer quotes what was typed at this terminal, and writes out escapes, but no overrides.
    obeyed = "\x1b" in text or (_USAGE not in text and _CONTROL.search(text))
    if printed and obeyed:
        return Outcome(end=End.MESSAGE, detail=repr(text[:300]), where="control characters")
    if _USAGE not in text:  # typer's own box has lines
        if printed and "\n" in text:
            return Outcome(end=End.MESSAGE, detail=text[:600], where="several lines")
        if len(text) > LONGEST_MESSAGE:
            detail = f"{len(text)} characters: {text[:200]} ... {text[-200:]}"
            return Outcome(end=End.MESSAGE, detail=detail, where=f"too long: {text[:40]}")
    return Outcome(end=End.REFUSED, detail=text[:300])


def of_noise(output: str, errors: str) -> Outcome | None:
    """Return what is wrong with what a command printed or wrote; None where nothing is."""
    if "\x1b" in output or "\x1b" in errors:
        return Outcome(end=End.MARKUP, detail=_around(output + errors, "\x1b"), where="escape")
    found = re.search(r"^(?:.*: )?(\w+Warning): .*$", errors, re.MULTILINE)
    if found:
        return Outcome(end=End.WARNING, detail=found[0][-300:], where=found[0][-120:])
    return None


def _around(text: str, part: str) -> str:
    at = text.index(part)
    return repr(text[max(0, at - 80) : at + 80])
