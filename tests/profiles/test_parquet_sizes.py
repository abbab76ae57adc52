"""Sizes of Parquet files, read without unpacking anything."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adadecode.profiles.parquet_sizes import chunk_sizes
from adadecode.profiles.thrift_compact import ThriftReader
from tests.support.tampering import parquet_bytes

TABLE = pa.table({"a": np.arange(5000) % 7, "b": [[1.0, 2.0], []] * 2500, "c": ["x"] * 5000})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_dictionary": False},
        {"row_group_size": 1000},
        {"data_page_size": 100},
        {"data_page_version": "2.0"},
        {"compression": "zstd"},
        {"write_statistics": False},
    ],
)
def test_sizes_are_those_that_the_writer_counts(settings: dict[str, object]) -> None:
    """Held against what pyarrow tells of its own files."""
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, **settings)
    data = sink.getvalue().to_pybytes()
    about = pq.read_metadata(pa.BufferReader(data))
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    wanted = [(group.column(k), group.num_rows) for group in groups for k in range(3)]
    found = chunk_sizes(data, ("a", "b", "c"))
    assert [(one.column, one.rows, one.values) for one in found] == [
        (column.path_in_schema.partition(".")[0], rows, column.num_values)
        for column, rows in wanted
    ]
    for one, (column, _) in zip(found, wanted, strict=True):
        assert 0 < one.unpacked <= column.total_uncompressed_size  # which counts headers too


def test_columns_that_do_not_count_are_left_out() -> None:
    assert [one.column for one in chunk_sizes(parquet_bytes(TABLE), ("b",))] == ["b"]


def test_an_empty_table_has_no_pages() -> None:
    sizes = chunk_sizes(parquet_bytes(TABLE.slice(0, 0)), ("a", "b", "c"))
    assert sum(one.unpacked + one.values for one in sizes) == 0


def test_a_page_that_is_larger_than_the_footer_says_counts_as_the_page_says() -> None:
    """A small page of zeros may unfold to two gigabytes; its header must say so."""
    table = pa.table({"a": np.zeros(10**6, np.int64)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, data_page_size=2**30)
    data = sink.getvalue().to_pybytes()
    assert len(data) < 10_000
    (size,) = chunk_sizes(data, ("a",))
    assert size.unpacked >= 8 * 10**6


def test_whatever_is_wrong_with_the_bytes_is_a_value_error() -> None:
    """pyarrow ends the whole program for some of these footers, when it is asked for a column."""
    data, random_ = parquet_bytes(TABLE), random.Random(0)
    refused = 0
    for _ in range(1000):
        broken = bytearray(data)
        for _ in range(random_.choice((1, 2, 8))):
            broken[random_.randrange(len(broken))] = random_.randrange(256)
        try:
            chunk_sizes(bytes(broken), ("a", "b", "c"))
        except ValueError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut off"),
        (b"\x15", "cut off"),
        (b"\x15" + b"\xff" * 12, "64 bits"),
        (b"\x18\x7fab", "a text that is cut off"),
        (b"\x19\xf5\xff\xff\x7f", "a list that is cut off"),
        (b"\x1c" * 100, "nested too deeply"),
        (b"\x1f\x00", "unknown type 15"),
        (b"\x15\x02\x05\x02\x02\x00", "field 1 twice"),
    ],
)
def test_a_structure_that_is_none_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThriftReader(data).struct()


def test_a_structure_is_read_by_its_fields() -> None:
    """An integer, two booleans, a text, a list of integers and a structure."""
    data = b"\x15\x03\x11\x12\x18\x02ab\x19\x25\x02\x04\x1c\x15\x08\x00\x00rest"
    reader = ThriftReader(data)
    assert reader.struct() == {1: -2, 2: True, 3: False, 4: b"ab", 5: [1, 2], 6: {1: 4}}
    assert data[reader.place :] == b"rest"
