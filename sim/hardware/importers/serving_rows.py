"""Rows of the table ``serving``, one after the other."""

from __future__ import annotations

from typing import Any

import pandas as pd

from adadecode.profiles.schema import ALL_TABLES

_TIMES = ("seconds", "equal_seconds", "longest_seconds")


class ServingRows:
    """Rows of the table ``serving``, of contexts that are all equal."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def add(self, kind: str, seconds: float, **sizes: int) -> None:
        """Add a row.

        Args:
            kind: What takes the time, of `adadecode.profiles.schema.SERVING_KINDS`.
            seconds: The time.
            sizes: The columns of sizes; those that are not named are 0.
        """
        names = [name for name in ALL_TABLES["serving"].names if name not in _TIMES]
        times = dict.fromkeys(_TIMES, seconds)
        self._rows.append({**dict.fromkeys(names, 0), "kind": kind, **sizes, **times})

    def table(self) -> pd.DataFrame:
        """Return the rows as a table."""
        return pd.DataFrame(self._rows, columns=ALL_TABLES["serving"].names)
