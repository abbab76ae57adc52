"""The parts of an unfinished sweep: each under a name that holds its digest.

A digest is of the plan, the number of the part and its bytes, so that a part that was edited,
belongs to another plan or changed places with another one is not taken for what it was. Such a part
is removed, and its designs are evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from adadecode.profiles.atomic_write import write_bytes
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import read_bytes
from adadecode.sim.core.design import Design
from adadecode.sim.sweep.plan import SweepPlan
from adadecode.sim.sweep.row_checks import check_devices, check_rows
from adadecode.sim.sweep.table import NUMBERS, schema_of, table_bytes, table_rows

PARTS = "parts"
"""The folder of the parts."""

SUFFIX = ".parquet"

_TODO = "sweep again"


@dataclass(frozen=True, kw_only=True)
class SweepParts:
    """The parts of one sweep.

    Attributes:
        folder: Where they are.
        plan: What is swept.
        devices: The devices, in the order of the rows.
        note: Called with a sentence on every part that is not taken.
    """

    folder: Path
    plan: SweepPlan
    devices: Sequence[str]
    note: Callable[[str], None]

    def keep(self, index: int, rows: pd.DataFrame) -> None:
        """Write a part.

        Raises:
            InputError: If it cannot be written.
        """
        data = table_bytes(rows, gated=self.plan.space.has_gates)
        write_bytes(self.folder / f"{index:06d}-{self._digest(index, data)}{SUFFIX}", data)

    def find(self, index: int, designs: Sequence[Design]) -> pd.DataFrame | None:
        """Return the rows of a part that was kept; None where it has to be evaluated.

        Args:
            index: Number of the part.
            designs: What it must hold.
        """
        for path in self._files(index):
            try:
                return self._read(path, index, designs)
            except InputError as error:
                self.note(f"evaluated again: {error}")
                with suppress(OSError):
                    path.unlink()
        return None

    def _read(self, path: Path, index: int, designs: Sequence[Design]) -> pd.DataFrame:
        data = read_bytes(path)
        if path.name != f"{index:06d}-{self._digest(index, data)}{SUFFIX}":
            raise InputError(f"{path.name} is not as this sweep wrote it")
        space = self.plan.space
        schema = schema_of(formed=bool(space.forms), gated=space.has_gates, finished=False)
        rows = table_rows(data, schema, path, _TODO, len(designs) * len(self.devices))
        labels = [design.label for design in designs]
        check_devices(rows.drop_duplicates(["design", "device"]), labels, self.devices, path, _TODO)
        check_rows(rows, NUMBERS, path, _TODO)
        return rows

    def _files(self, index: int) -> Iterator[Path]:
        """Yield the files that claim to be a part."""
        yield from sorted(self.folder.glob(f"{index:06d}*{SUFFIX}"))

    def _digest(self, index: int, data: bytes) -> str:
        return sha256_hex(f"{self.plan.digest} {index} ".encode(), data)
