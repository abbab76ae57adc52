"""The pieces that a recording is made of: their kinds, their names, and steps that make them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from adadecode.engine.profiling.piece_store import Row

PIECE_KINDS = ("trace", "runs", "latency", "works", "branches", "baselines")
"""The kinds of pieces. The place of its kind here begins a piece's name, so that names sort in the
order in which pieces are put together."""

MEASURED = ("runs", "latency", "works", "baselines")
"""The kinds of pieces that a recording makes itself also where it follows a script."""

TIMED = ("latency", "works")
"""The kinds of pieces in which layers are timed."""

Tables = dict[str, Sequence[Row]]
"""Rows by the name of their table."""


@dataclass(frozen=True)
class Step:
    """One or more pieces that are made together.

    Args:
        names: The names of the pieces.
        make: Takes the names that are wanted, returns the tables of each of them.
    """

    names: tuple[str, ...]
    make: Callable[[Collection[str]], dict[str, Tables]]


def piece_name(kind: str, *numbers: str) -> str:
    """Return the name of a piece, like ``2-runs-000-0001``."""
    return "-".join((str(PIECE_KINDS.index(kind) + 1), kind, *numbers))
