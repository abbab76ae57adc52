"""What devices that share every layer exchange: sums of states, and logits gathered.

The sum after attention and after the MLP, and that of the embedding, is the engine's own; beyond
its table NCCL's, to which engines fall back there. Logits are gathered by NCCL, of which the
engines have no other. Nothing is carried beyond a table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from adadecode.profiles.errors import LatencyError
from adadecode.sim.hardware.kernel_tables.products import INTERPOLATED, MEASURED, KernelTime
from adadecode.sim.hardware.kernel_tables.table_file import KernelRows
from adadecode.sim.hardware.kernel_tables.tables import KernelTables


@dataclass(frozen=True, kw_only=True)
class Collectives:
    """Times of exchanges between some devices. Build it with `of`.

    Attributes:
        reduces: Tables of sums, the one that counts first.
        gathers: Tables of gathered vectors.
    """

    reduces: tuple[KernelRows, ...]
    gathers: tuple[KernelRows, ...]

    @classmethod
    def of(cls, tables: KernelTables, n_devices: int) -> Collectives:
        """Return the exchanges between so many devices.

        Args:
            tables: The kernel tables.
            n_devices: How many devices share the model.

        Raises:
            LatencyError: If a table is missing, or has none of so many devices.
            ProfileError: If a file is damaged.
        """
        reduces = [tables.all_reduce(n_devices)]
        gathers = (tables.nccl("all_gather", n_devices),)
        with suppress(LatencyError):  # where NCCL's sums were not measured, the engine's own remain
            reduces.append(tables.nccl("all_reduce", n_devices))
        return cls(reduces=tuple(reduces), gathers=gathers)

    def all_reduce(self, part: str, elements: int) -> KernelTime:
        """Return the sum of a vector of 16-bit numbers over all devices.

        Args:
            part: What it is of, for the record.
            elements: Its numbers.

        Raises:
            LatencyError: If it is shorter or longer than in any table.
        """
        return _time(part, elements, self.reduces)

    def all_gather(self, part: str, elements: int) -> KernelTime:
        """Return how long it takes until every device has a whole vector of 16-bit numbers.

        Args:
            part: What it is of, for the record.
            elements: The numbers that every device has afterwards.

        Raises:
            LatencyError: As `all_reduce`.
        """
        return _time(part, elements, self.gathers)


def _time(part: str, elements: int, tables: Sequence[KernelRows]) -> KernelTime:
    """Return an exchange from the first table that reaches it, on a line between two lengths."""
    for table in tables:
        sizes = table.rows["elements"].tolist()
        if not sizes[0] <= elements <= sizes[-1]:
            continue
        seconds = float(np.interp(elements, sizes, table.rows["seconds"].tolist()))
        at = bisect_left(sizes, elements)
        if sizes[at] == elements:
            return KernelTime(part, seconds, MEASURED, f"{elements} numbers, {table.source.name}")
        note = f"{sizes[at - 1]}..{sizes[at]} numbers, {table.source.name}"
        return KernelTime(part, seconds, INTERPOLATED, note)
    ends = "; ".join(
        f"{one.rows['elements'].min()} to {one.rows['elements'].max()} in {one.source}"
        for one in tables
    )
    raise LatencyError(
        f"no {part} of {elements} numbers: there are {ends}, and nothing is carried beyond it"
    )
