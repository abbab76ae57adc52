"""Read Parquet tables that others wrote: known columns only, within bounds, text that is text.

A small file can unfold into any amount of memory: repeated values cost nothing on disk. So the
rows, columns, types and sizes that the file's footer and the headers of its pages name are held
against what is wanted before anything is decoded, and text is decoded only once its length is
known.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adadecode.profiles.errors import InputError, ProfileError
from adadecode.profiles.parquet_sizes import ChunkSizes, chunk_sizes

MOST_MEMORY = 4 * 2**30
"""Bytes that one table may take once it is decoded."""

MOST_TEXT = 2**16
"""Bytes of the longest text in a cell."""

_ROW = 120
"""Bytes that a list takes in a data frame, as a tuple, besides its items."""

_ITEM = 40
"""Bytes that an item of a list takes there."""

_FOOTER = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 2**18}

_UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError),
    *(NotImplementedError, pa.ArrowException),
)
"""What Arrow raises about bytes that are no Parquet file."""


def read_parquet(
    data: bytes,
    schema: pa.Schema,
    source: str | Path,
    todo: str,
    *,
    rows: int | None = None,
    optional: Container[str] = (),
    error: type[InputError] = ProfileError,
) -> pa.Table:
    """Return the columns of a schema from the bytes of a Parquet file.

    Other columns are not read. Nulls are left to the caller.

    Args:
        data: The bytes.
        schema: The wanted columns, of numbers, text, or lists of numbers.
        source: Where the bytes are from, for messages.
        todo: What to do about it, for messages.
        rows: Rows that the table must have, where that is known.
        optional: Columns that may be missing.
        error: What to raise.

    Returns:
        The columns, in the order of the schema, without optional ones that are missing.

    Raises:
        InputError: If the bytes are no Parquet, or a column is missing, repeated, of another type,
            too large or holds text that is not UTF-8; of the class ``error``.
    """
    with _readable(source, todo, error):
        sizes = chunk_sizes(data, schema.names)
        # Without threads: one that still starts up aborts a program that exits.
        file = pq.ParquetFile(pa.BufferReader(data), **_FOOTER)
        found = file.metadata.schema.to_arrow_schema()
    schema = pa.schema(
        [column for column in schema if column.name in found.names or column.name not in optional]
    )
    texts = [column.name for column in schema if pa.types.is_string(column.type)]
    _check_columns(found, schema, source, todo, error)
    held = file.metadata.num_rows
    if rows is not None and held != rows:
        raise error(f"wanted {rows} rows in {source}, got {held}: {todo}")
    _check_size(sizes, schema, held, source, todo, error)
    with _readable(source, todo, error):
        if texts:  # as numbers of a dictionary: a long text in every row costs nothing yet
            file = pq.ParquetFile(
                pa.BufferReader(data), metadata=file.metadata, read_dictionary=texts
            )
        table = file.read(columns=schema.names, use_threads=False).combine_chunks()
        table.validate(full=True)
    if table.num_rows != held:
        raise error(
            f"wanted the {held} rows of its footer in {source}, got {table.num_rows}: {todo}"
        )
    columns = [
        _text(table[name], name, source, todo, error) if name in texts else table[name]
        for name in schema.names
    ]
    with _readable(source, todo, error):
        return pa.Table.from_arrays(columns, schema=schema)


@contextmanager
def _readable(source: str | Path, todo: str, error: type[InputError]) -> Iterator[None]:
    """Turn what Arrow raises about the bytes of a file into one sentence."""
    try:
        yield
    except _UNREADABLE as problem:
        why = " ".join(str(problem).split())[:300]
        raise error(
            f"wanted a Parquet table in {source}, got something unreadable ({why}): {todo}"
        ) from None


def _check_columns(
    found: pa.Schema, wanted: pa.Schema, source: str | Path, todo: str, error: type[InputError]
) -> None:
    """Refuse a table in which a column is missing, repeated or of another type."""
    for column in wanted:
        types = [one.type for one in found if one.name == column.name]
        if types != [column.type]:
            got = " and ".join(map(str, types)) or "none"
            raise error(
                f"wanted a column {column.name} of type {column.type} in {source}, got {got}: "
                f"{todo}"
            )


def _check_size(
    sizes: list[ChunkSizes],
    schema: pa.Schema,
    rows: int,
    source: str | Path,
    todo: str,
    error: type[InputError],
) -> None:
    """Refuse more than the memory bound holds, as a data frame, with text as a dictionary."""
    kinds = {column.name: column.type for column in schema}
    taken = 0
    for chunk in sizes:
        lists = pa.types.is_list(kinds[chunk.column])
        items = _ROW * chunk.rows + _ITEM * chunk.values
        taken += chunk.unpacked + (items if lists else 8 * max(chunk.rows, chunk.values))
    if taken > MOST_MEMORY:
        raise error(
            f"wanted a table that takes at most {MOST_MEMORY:,} bytes of memory in {source}, "
            f"got {taken:,} ({rows:,} rows): {todo}"
        )


def _text(
    column: pa.ChunkedArray, name: str, source: str | Path, todo: str, error: type[InputError]
) -> pa.ChunkedArray:
    """Return a column of text from its dictionary, once its length is known."""
    texts = []
    for chunk in column.chunks:
        held, places = chunk.dictionary, chunk.indices
        sizes = pc.binary_length(held).fill_null(0).to_numpy(zero_copy_only=False)
        counts = np.bincount(places.drop_null().to_numpy(), minlength=len(sizes))
        if len(sizes) and int(sizes.max()) > MOST_TEXT:
            raise error(
                f"wanted texts of at most {MOST_TEXT:,} bytes in column {name} of {source}, "
                f"got one of {int(sizes.max()):,}: {todo}"
            )
        if (taken := int(np.dot(sizes.astype(np.int64), counts))) > MOST_MEMORY:
            raise error(
                f"wanted at most {MOST_MEMORY:,} bytes of text in column {name} of {source}, "
                f"got {taken:,}: {todo}"
            )
        with _readable(source, todo, error):
            texts.append(pc.take(held, places))
    return pa.chunked_array(texts, pa.string())
