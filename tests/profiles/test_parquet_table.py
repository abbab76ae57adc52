"""Tests of reading Parquet tables that others wrote."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adadecode.profiles import ProfileError, parquet_table
from adadecode.profiles.parquet_table import MOST_TEXT, read_parquet

SCHEMA = pa.schema(
    [("number", pa.int32()), ("text", pa.string()), ("list", pa.list_(pa.float64()))]
)
TABLE = pa.table(
    {"number": [1, 2, 3], "text": ["a", "ä", "a"], "list": [[0.5], [], [1.0, 2.0]]}, schema=SCHEMA
)


def written(table: pa.Table, **settings: object) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **settings)
    return bytes(sink.getvalue().to_pybytes())


def read(data: bytes, *, rows: int | None = None) -> pa.Table:
    return read_parquet(data, SCHEMA, "FILE", "record it again", rows=rows)


def with_column(name: str, column: pa.Array) -> pa.Table:
    return TABLE.set_column(TABLE.column_names.index(name), name, column)


@pytest.mark.parametrize("settings", [{}, {"use_dictionary": False}, {"row_group_size": 1}])
def test_a_table_is_read_as_it_was_written(settings: dict[str, object]) -> None:
    assert read(written(TABLE, **settings), rows=3).equals(TABLE)
    assert read(written(TABLE.slice(0, 0), **settings)).equals(TABLE.slice(0, 0))


def test_nulls_are_left_to_the_caller() -> None:
    table = with_column("text", pa.array(["a", None, "b"]))
    assert read(written(table)).equals(table)


def test_columns_in_another_order_and_unknown_ones_do_no_harm() -> None:
    extra = TABLE.append_column("more", pa.array([1, 2, 3])).select(
        ["more", "text", "list", "number"]
    )
    assert read(written(extra)).equals(TABLE)


def test_an_unknown_column_is_never_decoded() -> None:
    """So whatever it would unfold to takes no memory: here its bytes are no page at all."""
    table = TABLE.append_column("more", pa.array([7, 8, 9]))
    data = bytearray(written(table, compression="none"))
    about = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(0).column(3)
    start = about.dictionary_page_offset
    data[start : start + about.total_compressed_size] = b"\xff" * about.total_compressed_size
    with pytest.raises((OSError, pa.ArrowException)):
        pq.ParquetFile(pa.BufferReader(bytes(data))).read(use_threads=False)
    assert read(bytes(data)).equals(TABLE)


@pytest.mark.parametrize("rows", [2, 4, 0])
def test_other_rows_than_wanted_are_refused(rows: int) -> None:
    with pytest.raises(ProfileError, match=f"wanted {rows} rows in FILE, got 3: record it again"):
        read(written(TABLE), rows=rows)


def test_a_column_that_stands_twice_is_refused() -> None:
    twice = pa.Table.from_arrays(
        [TABLE["number"], *TABLE.columns], names=["number", *TABLE.column_names]
    )
    with pytest.raises(
        ProfileError, match="wanted a column number of type int32 in FILE, got int32 and int32"
    ):
        read(written(twice))


def test_text_that_is_not_utf_8_is_refused() -> None:
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    broken = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffb"))
    with pytest.raises(ProfileError, match=r"got something unreadable .*UTF8.*: record it again"):
        read(written(with_column("text", broken)))


def repeated(rows: int, text: str) -> pa.Table:
    """Rows that are all alike, which cost nothing on disk."""
    places = pa.array(np.zeros(rows, np.int32))
    lists = pa.ListArray.from_arrays(
        pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.float64())
    )
    return pa.Table.from_arrays([places, pa.array([text]).take(places), lists], schema=SCHEMA)


def test_more_rows_than_the_memory_bound_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(repeated(20_000, "a"))
    assert len(data) < 5_000
    assert read(data).num_rows == 20_000
    monkeypatch.setattr(parquet_table, "MOST_MEMORY", 1_000_000)
    with pytest.raises(ProfileError, match=r"at most 1,000,000 bytes of memory in FILE, got 3,5"):
        read(data)


def test_longer_lists_than_the_memory_bound_holds_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lists = pa.ListArray.from_arrays([0, 30_000, 30_000, 30_000], np.zeros(30_000))
    data = written(with_column("list", lists))
    assert read(data).num_rows == 3
    monkeypatch.setattr(parquet_table, "MOST_MEMORY", 1_000_000)
    with pytest.raises(ProfileError, match="at most 1,000,000 bytes of memory in FILE, got 1,"):
        read(data)


def test_more_text_than_the_memory_bound_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One long text in every row: a dictionary of one entry on disk."""
    data = written(repeated(20_000, "x" * 5_000), store_schema=False)
    monkeypatch.setattr(parquet_table, "MOST_MEMORY", 10_000_000)
    with pytest.raises(ProfileError, match="10,000,000 bytes of text in column text of FILE, got"):
        read(data)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ProfileError, match=rf"at most {MOST_TEXT:,} bytes in column text"):
        read(written(with_column("text", pa.array(["a", "b", "x" * (MOST_TEXT + 1)]))))


@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b"PAR1" + b"\0" * 40 + b"PAR1", written(TABLE)[:-20], b"no parquet at all"],
    ids=["empty", "magic", "zeros", "cut", "text"],
)
def test_what_is_no_parquet_is_refused(data: bytes) -> None:
    with pytest.raises(ProfileError, match="wanted a Parquet table in FILE, got something unread"):
        read(data)


def test_a_flipped_byte_is_refused_or_changes_a_value() -> None:
    """Whatever the byte: one sentence, or a table of the wanted columns."""
    data, refused = written(TABLE, compression="none"), 0
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        try:
            assert read(bytes(broken), rows=3).schema == SCHEMA
        except ProfileError:
            refused += 1
    assert refused > len(data) // 4
