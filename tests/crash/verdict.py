"""What a failure left behind, and whether that is as it should be."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What became of an output. Those in `BAD` must not happen."""

    OLD = "old, whole"
    NEW = "new, whole"
    REFUSED = "refused"
    AGAIN = "unfinished, done by the next call"
    STUCK = "unfinished, hinders the next call"
    HALF = "half, taken for whole"
    LOST = "older result lost"
    THROUGH = "written through a link"
    TRACEBACK = "traceback"
    HANG = "hang"
    UNTRIED = "not tried"


BAD = frozenset(
    {
        Verdict.STUCK,
        Verdict.HALF,
        Verdict.LOST,
        Verdict.THROUGH,
        Verdict.TRACEBACK,
        Verdict.HANG,
    }
)
"""What must not happen."""
