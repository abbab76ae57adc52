"""One file of kernel tables, checked: its rows in seconds and watts, whatever they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.input_file import read_bytes
from adadecode.profiles.parquet_table import read_parquet

MOST_FAILED = 0.01
"""Share of the rows of a file that may hold no time: measurements that failed."""

_TODO = "copy the file again, from the package aiconfigurator-core"
_TIMES = {"latency": pa.float64(), "power": pa.float64()}
_OPTIONAL = ("power", "window_size", "device", "kernel_source", "backend")
_LARGEST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class KernelRows:
    """Rows of one file that are of one kind of work.

    Attributes:
        rows: One row for each size: its sizes, ``seconds``, and ``watts`` (NaN where the file has
            no power). Of several rows of one size the median counts.
        source: The file, for messages.
    """

    rows: pd.DataFrame
    source: Path


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """One file: its rows that hold a time.

    Attributes:
        path: The file.
        table: Its rows, with ``seconds`` and ``watts`` (NaN where the file has no power).
        failed: How many more hold no time.
        sha256: Digest of the file.
    """

    path: Path
    table: pd.DataFrame
    failed: int
    sha256: str

    def by(self, rows: pd.DataFrame, sizes: Mapping[str, str]) -> KernelRows:
        """Return rows by these sizes, under these names, with seconds and watts."""
        found = (
            rows.rename(columns=dict(sizes))
            .groupby(list(sizes.values()), sort=True)[["seconds", "watts"]]
            .median()
            .reset_index()
        )
        return KernelRows(rows=found, source=self.path)


def read_file(path: Path, columns: Mapping[str, pa.DataType]) -> TableFile:
    """Return a file, in seconds and watts.

    Args:
        path: The file.
        columns: The columns that are read, and what they hold; those of times besides.

    Raises:
        ProfileError: If it is missing, torn, lacks columns, or holds sizes that are none.
    """
    data = read_bytes(path, error=ProfileError)
    found = _number_types(data)
    wanted = {**columns, **_TIMES}
    schema = pa.schema([(name, found.get(name, kind)) for name, kind in wanted.items()])
    table = read_parquet(data, schema, path, _TODO, optional=_OPTIONAL).to_pandas()
    whole = [name for name, kind in columns.items() if kind == pa.int64() and name in table]
    _check_sizes(table, whole, path)
    texts = [name for name, kind in columns.items() if kind == pa.string() and name in table]
    table = table.astype({**dict.fromkeys(whole, np.int64), **dict.fromkeys(texts, str)})
    seconds = 1e-3 * table["latency"].to_numpy(dtype=np.float64)
    watts = (
        table["power"].to_numpy(dtype=np.float64)
        if "power" in table
        else np.full(len(table), np.nan)
    )
    fine = np.isfinite(seconds) & (seconds > 0)
    failed = int((~fine).sum())
    if not fine.any() or failed > MOST_FAILED * len(table):
        raise ProfileError(
            f"{failed} of {len(table)} rows of {path} hold no latency above 0 ms: {_TODO}"
        )
    table = table.assign(
        seconds=seconds, watts=np.where(np.isfinite(watts) & (watts > 0), watts, np.nan)
    )
    return TableFile(path=path, table=table[fine], failed=failed, sha256=sha256_hex(data))


def _number_types(data: bytes) -> dict[str, pa.DataType]:
    """Return the types of the columns of numbers, which others may write narrower or wider.

    Nothing where the bytes are no Parquet file: whoever reads it says so.
    """
    try:
        schema = pq.ParquetFile(pa.BufferReader(data)).metadata.schema.to_arrow_schema()
    except (OSError, ValueError, pa.ArrowException):
        return {}
    return {
        one.name: one.type
        for one in schema
        if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)
    }


def _check_sizes(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    """Refuse rows whose sizes are no whole numbers, or below what they can be."""
    for name in names:
        values = table[name].to_numpy(dtype=np.float64)
        least = 0 if name in ("step", "window_size") else 1
        wrong = ~((values >= least) & (values <= _LARGEST) & (np.floor(values) == values))
        if wrong.any():
            raise ProfileError(
                f"wanted whole numbers as {name} in {path}, got {values[wrong.argmax()]:g} in row "
                f"{int(wrong.argmax())}: {_TODO}"
            )
