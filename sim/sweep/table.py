"""The table of a sweep as Parquet: its columns and their types, written and read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.parquet_table import read_parquet
from adadecode.sim.prediction.evaluator import COLUMNS, ENERGY

FORM = "form"
"""The column that names the form of the heads, where there were several to choose from."""

GATES = "gates"
"""The column of the thresholds of gates, on disk only where some designs of the space ask any."""

FRONT = "pareto"
"""The column that marks the designs on their device's front. A part does not have it yet."""

_NUMBER = pa.float64()

_LISTS = {"placement": pa.list_(pa.int32()), "gammas": pa.list_(_NUMBER), GATES: pa.list_(_NUMBER)}

_TEXTS = dict.fromkeys(("design", FORM, "policy", "device"), pa.string())

_FLAGS = dict.fromkeys(("verify", "fits", FRONT), pa.bool_())

_TYPES = {**_TEXTS, **_LISTS, **_FLAGS, "cap": pa.int32()}

NUMBERS = tuple(name for name in COLUMNS if name not in _TYPES)
"""The columns of floating-point numbers; NaN where a number is not known."""


def schema_of(*, formed: bool, gated: bool, finished: bool) -> pa.Schema:
    """Return the columns of a table with their types.

    Args:
        formed: Whether there were several forms of heads to choose from.
        gated: Whether some designs of the space ask gates.
        finished: Whether it is the table of a finished sweep, and not a part of one.
    """
    names = [
        *COLUMNS[:1],
        *([FORM] if formed else ()),
        *(name for name in COLUMNS[1:] if gated or name != GATES),
        *([FRONT] if finished else ()),
    ]
    return pa.schema([(name, _TYPES.get(name, _NUMBER)) for name in names])


def table_bytes(rows: pd.DataFrame, *, gated: bool) -> bytes:
    """Return rows as the bytes of a Parquet file; with the thresholds of gates where ``gated``."""
    rows = rows if gated else rows.drop(columns=GATES)
    columns = {
        name: pa.array(rows[name].tolist(), _TYPES.get(name, _NUMBER)) for name in rows.columns
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def table_rows(data: bytes, schema: pa.Schema, where: Path, todo: str, count: int) -> pd.DataFrame:
    """Return the rows in the bytes of a Parquet file; lists become tuples, to be compared.

    Where the file has no thresholds of gates, none is asked. Columns that the first versions of
    this program did not write may be missing.

    Args:
        data: The bytes.
        schema: Of `schema_of`.
        where: The file, for the message.
        todo: What to do about it, for the message.
        count: How many rows there must be.

    Raises:
        ProfileError: If they are no such table, or a value is missing.
    """
    table = read_parquet(data, schema, where, todo, rows=count, optional=ENERGY)
    lacking = [name for name in ENERGY if name not in table.column_names]
    if 0 < len(lacking) < len(ENERGY):
        raise ProfileError(
            f"wanted all of {', '.join(ENERGY)} or none in {where}, got no {lacking[0]}: {todo}"
        )
    for name in table.column_names:
        column = table[name].combine_chunks()
        if column.null_count or (name in _LISTS and column.flatten().null_count):
            raise ProfileError(
                f"wanted a value in every row of column {name} in {where}, got nulls: {todo}"
            )
    rows: pd.DataFrame = table.to_pandas(use_threads=False)
    for name in _LISTS.keys() & set(schema.names):
        rows[name] = pd.Series(map(tuple, table[name].to_pylist()), dtype=object)
    if GATES not in rows:
        place = list(rows.columns).index("gammas") + 1
        rows.insert(place, GATES, pd.Series([()] * len(rows), dtype=object))
    return rows
