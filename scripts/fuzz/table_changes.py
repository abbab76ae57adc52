"""Changes of Parquet tables: columns, types, single values and rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scripts.fuzz.values import NUMBERS, TEXTS, value_of

FACTORS = (-1, 0, 1e-9, 1e-3, 0.5, 1.001, 2, 1e3, 1e9)

TYPES = {
    "int64": pa.int64(),
    "int8": pa.int8(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "list": pa.list_(pa.int32()),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "null": pa.null(),
    "binary": pa.binary(),
    "large text": pa.large_string(),
}

BOMB = 4_000_000_000
"""Bytes that a column takes which nobody asked for; its file has a few kilobytes."""

LONGEST_TEXT = 8_000_000
"""Bytes of one text in it."""

COLUMN_CHANGES = ("drop", "twice", "rename", "retype", "scale", "all", "null", "swap")

ROW_CHANGES = ("away", "twice", "none", "reversed", "half")


def load(data: bytes) -> pa.Table:
    """Return the table of a file."""
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def dump(table: pa.Table) -> bytes:
    """Return the file of a table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def draw(source: random.Random, table: pa.Table) -> tuple[str, tuple[Any, ...], Any]:
    """Draw a change of a table: its name, where, and a value."""
    column = source.choice(table.column_names)
    row = source.randrange(max(1, table.num_rows))
    kind = source.random()
    if kind < 0.45:
        return "table value", (column, row), _value_for(source, table.schema.field(column).type)
    if kind < 0.55:
        return f"rows {source.choice(ROW_CHANGES)}", (row,), None
    if kind < 0.57:
        return "column bomb", ("more",), None
    if kind < 0.6:
        return "column invalid text", (column,), None
    change = source.choice(COLUMN_CHANGES)
    value: Any = {
        "retype": lambda: source.choice(list(TYPES)),
        "scale": lambda: source.choice(FACTORS),
        "all": lambda: _value_for(source, table.schema.field(column).type),
        "swap": lambda: source.choice(table.column_names),
    }.get(change, lambda: None)()
    return f"column {change}", (column,), value


def apply(change: str, table: pa.Table, at: tuple[Any, ...], value: Any) -> bytes:  # noqa: ANN401
    """Return the file of a table changed.

    Raises:
        LookupError, pa.ArrowException: If there is no such column, or no such value in it.
    """
    if change == "column invalid text":
        return _invalid_text(table, at[0])
    if change == "column bomb":
        return _bomb(table)
    if change.startswith("rows "):
        return dump(_rows(change.removeprefix("rows "), table, at[0]))
    if change == "table value":
        values = table[at[0]].to_pylist()
        values[at[1] % len(values)] = value_of(value)
        return dump(_with(table, at[0], values))
    return dump(_column(change.removeprefix("column "), table, at[0], value))


def _value_for(source: random.Random, wanted: pa.DataType) -> Any:  # noqa: ANN401
    """Draw the name of a value that a column of this type can hold."""
    if pa.types.is_integer(wanted):
        return source.choice((-(2**31), -2, -1, 0, 1, 2, 3, 7, 1000, 2**31 - 1))
    if pa.types.is_floating(wanted):
        return source.choice(NUMBERS)
    if pa.types.is_boolean(wanted):
        return source.choice((True, False))
    if pa.types.is_list(wanted):
        return source.choice(("empty list", "list of numbers", "long list", "list of null"))
    return source.choice((*TEXTS, "layer", "adadecode", "verify", "embed"))


def _with(table: pa.Table, column: str, values: list[Any]) -> pa.Table:
    index = table.column_names.index(column)
    field = table.schema.field(index)
    if pa.types.is_floating(field.type):
        values = [None if value is None else float(value) for value in values]
    return table.set_column(index, field, pa.array(values, field.type))


def _rows(kind: str, table: pa.Table, row: int) -> pa.Table:
    if kind == "none":
        return table.slice(0, 0)
    if kind == "half":
        return table.slice(0, table.num_rows // 2)
    if kind == "reversed":
        return table.take(list(range(table.num_rows))[::-1])
    one = table.slice(row % max(1, table.num_rows), 1)
    if kind == "twice":
        return pa.concat_tables([table, one])
    return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


def _column(kind: str, table: pa.Table, column: str, value: Any) -> pa.Table:  # noqa: ANN401
    """Return a table with one of its columns changed."""
    field = table.schema.field(column)
    index, values = table.column_names.index(column), table[column].to_pylist()
    whole = pa.types.is_integer(field.type)
    changes: dict[str, Callable[[], pa.Table]] = {
        "drop": lambda: table.drop_columns([column]),
        "twice": lambda: table.append_column(column, table[column]),
        "rename": lambda: table.rename_columns(
            [f"{one}_" if one == column else one for one in table.column_names]
        ),
        "retype": lambda: table.set_column(index, column, _retyped(values, TYPES[value])),
        "scale": lambda: _with(
            table, column, [int(one * value) if whole else one * value for one in values]
        ),
        "all": lambda: _with(table, column, [value_of(value)] * len(values)),
        "swap": lambda: table.set_column(index, column, table[value]),
        "null": lambda: _with(table, column, [None, *values[1:]]),
    }
    return changes[kind]()


def _retyped(values: list[Any], wanted: pa.DataType) -> pa.Array:
    """Return values as another type, of which they become the plainest ones that fit."""
    try:
        return pa.array(values, wanted)
    except (pa.ArrowException, TypeError, ValueError):
        texts = [str(value) for value in values]
        if pa.types.is_string(wanted) or pa.types.is_large_string(wanted):
            return pa.array(texts, wanted)
        if pa.types.is_binary(wanted):
            return pa.array([text.encode() for text in texts], wanted)
        if pa.types.is_dictionary(wanted):
            return pa.array(texts).dictionary_encode()
        return pa.nulls(len(values), wanted)


def _invalid_text(table: pa.Table, column: str) -> bytes:
    """Return a table whose texts hold a byte that is not UTF-8."""
    index = table.column_names.index(column)
    count = table.num_rows
    ends = pa.py_buffer(b"".join((i).to_bytes(4, "little") for i in range(count + 1)))
    text = pa.Array.from_buffers(pa.string(), count, [None, ends, pa.py_buffer(b"\xff" * count)])
    return dump(table.set_column(index, column, text))


def _bomb(table: pa.Table) -> bytes:
    """Return a small file with a column that takes gigabytes in memory: one long text, repeated."""
    text = "0" * min(LONGEST_TEXT, BOMB // max(1, table.num_rows))
    column = pa.DictionaryArray.from_arrays(pa.array([0] * table.num_rows, pa.int32()), [text])
    sink = pa.BufferOutputStream()
    more = table.append_column("more", column)
    pq.write_table(more, sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue().to_pybytes())
