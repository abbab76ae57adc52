"""The time of attention of one layer, from a table of attention: as measured, or in between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import InputError, LatencyError
from adadecode.sim.hardware.kernel_tables.products import (
    COMPOSED,
    INTERPOLATED,
    MEASURED,
    KernelTime,
)
from adadecode.sim.hardware.kernel_tables.tables import KernelTables


@dataclass(frozen=True, kw_only=True)
class AttentionTimes:
    """Times of attention of one layer.

    Attributes:
        tables: The kernel tables.
        shape: The model, as far as one device holds it.
        cache: Format of keys and values.
    """

    tables: KernelTables
    shape: ModelShape
    cache: str

    @cached_property
    def contexts(self) -> tuple[int, ...]:
        """Contexts at which attention of one sequence was measured, rising."""
        return tuple(self.decode[self.decode["batch"] == 1]["context"].tolist())

    def time(self, context: int, batch: int = 1) -> KernelTime:
        """Return the attention of one new token of each sequence.

        Args:
            context: Positions of each sequence, the new one included.
            batch: Sequences.

        Raises:
            LatencyError: If batch or context lie beyond the table.
        """
        seen = min(context, self.shape.alike.window or context)
        return _between(self.decode, ("batch", batch), ("context", seen), self._regrouped)

    def prompt_time(self, n_tokens: int) -> KernelTime:
        """Return the attention of a whole prompt, of a length that was measured."""
        rows = self.prompts
        row = rows[(rows["batch"] == 1) & (rows["prompt"] == n_tokens)].iloc[0]
        return KernelTime(
            "attention", float(row["seconds"]), MEASURED, f"prompt {n_tokens}", _known(row["watts"])
        )

    @property
    def decode(self) -> pd.DataFrame:
        """Rows of batch, context, seconds and watts: a new token of each sequence.

        Heads are independent of each other, as sequences are: where the table lacks as many heads
        of keys and values, it is asked for a share of the heads and as many more sequences.
        """
        return self._heads_apart[1]

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """Rows of batch, prompt, seconds and watts: whole prompts."""
        shape = self.shape
        return self.tables.prompt_attention(
            n_heads=shape.n_heads,
            n_kv_heads=shape.n_kv_heads,
            head_dim=shape.head_dim,
            cache=self.cache,
        ).rows

    @property
    def _regrouped(self) -> int:
        """How many sequences of the table stand for one; see `decode`."""
        return self._heads_apart[0]

    @cached_property
    def _heads_apart(self) -> tuple[int, pd.DataFrame]:
        shape, first = self.shape, None
        for times in (one for one in range(1, shape.n_kv_heads + 1) if not shape.n_kv_heads % one):
            try:
                rows = self.tables.decode_attention(
                    n_heads=shape.n_heads // times,
                    n_kv_heads=shape.n_kv_heads // times,
                    head_dim=shape.head_dim,
                    cache=self.cache,
                ).rows
            except LatencyError as problem:
                first = first or problem
                continue
            rows = rows[rows["batch"] % times == 0]
            if not rows.empty:
                return times, rows.assign(batch=rows["batch"] // times)
        raise first or InputError(f"no attention of {shape.name} in the table: choose another")


def _between(
    rows: pd.DataFrame, outer: tuple[str, int], inner: tuple[str, int], regrouped: int
) -> KernelTime:
    """Return the time of attention between the rows around two sizes.

    Raises:
        LatencyError: If one lies beyond the rows.
    """
    found: list[tuple[float, float]] = []
    inner_ends: list[list[int]] = []
    marks = _around(rows[outer[0]].unique().tolist(), outer)
    for mark in marks:
        line = rows[rows[outer[0]] == mark]
        sizes = line[inner[0]].tolist()
        ends = _around(sizes, inner)
        seconds, watts = (
            float(np.interp(inner[1], sizes, line[name].tolist())) for name in ("seconds", "watts")
        )
        found.append((seconds, watts))
        inner_ends.append(ends)
    share = (outer[1] - marks[0]) / (marks[-1] - marks[0]) if len(marks) > 1 else 0.0
    seconds, watts = (found[0][at] + (found[-1][at] - found[0][at]) * share for at in (0, 1))
    exact = len(marks) == 1 and len(inner_ends[0]) == 1
    note = ", ".join(
        f"{name} {'..'.join(map(str, ends))}"
        for name, ends in ((outer[0], marks), (inner[0], inner_ends[0]))
    )
    if regrouped > 1:
        note += f", its heads as {regrouped} sequences"
    basis = (MEASURED if exact else INTERPOLATED) if regrouped == 1 else COMPOSED
    return KernelTime("attention", seconds, basis, note, _known(watts))


def _around(marks: Iterable[int], wanted: tuple[str, int]) -> list[int]:
    """Return the marks on both sides of a size; one where it is a mark itself."""
    name, size = wanted
    rising = sorted(marks)
    if size in rising:
        return [size]
    below, above = [one for one in rising if one < size], [one for one in rising if one > size]
    if not below or not above:
        raise LatencyError(
            f"no attention with {name} {size} in the table: measured were {rising[0]}..{rising[-1]}"
        )
    return [below[-1], above[0]]


def _known(watts: float) -> float | None:
    """Return some watts; None where the table has none."""
    return float(watts) if np.isfinite(watts) else None
