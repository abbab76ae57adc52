"""How much a Parquet file unfolds to, by its footer and the header of each of its pages.

Nothing is unpacked for it. The numbers in names below are those of the fields in the format's
``parquet.thrift``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from adadecode.profiles.thrift_compact import ThriftReader

_ROW_GROUPS = 4  # of FileMetaData
_COLUMNS, _ROWS = 1, 3  # of RowGroup
_ABOUT = 3  # of ColumnChunk
_PATH, _VALUES, _PACKED, _DATA_AT, _DICTIONARY_AT = 3, 5, 7, 9, 11  # of ColumnMetaData
_UNPACKED_PAGE, _PACKED_PAGE = 2, 3  # of PageHeader
_DATA_PAGES = (5, 8)  # of PageHeader, in both versions; field 1 of each counts its values

_MAGIC = b"PAR1"


class ChunkSizes(NamedTuple):
    """How much one column of one group of rows unfolds to.

    Attributes:
        column: Name of the column, of a list too.
        rows: Rows of the group.
        values: Values, of all lists together; a missing one and an empty list count as one.
        unpacked: Bytes of its pages once they are unpacked.
    """

    column: str
    rows: int
    values: int
    unpacked: int


def chunk_sizes(data: bytes, names: Container[str]) -> list[ChunkSizes]:
    """Return the sizes of each column of each group of rows.

    Args:
        data: The bytes of the file.
        names: The columns that count.

    Raises:
        ValueError: If footer and pages do not fit together, or are none.
    """
    if data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise ValueError("no Parquet magic bytes at its ends")
    length = int.from_bytes(data[-8:-4], "little")
    if length + 12 > len(data):
        raise ValueError("a footer that is cut off")
    footer = ThriftReader(data[-8 - length : -8]).struct()
    return [
        _chunk(data, name, about, _whole(group, _ROWS))
        for group in _items(footer, _ROW_GROUPS)
        for name, about in map(_named, _items(group, _COLUMNS))
        if name in names
    ]


def _named(column: object) -> tuple[str, dict[int, Any]]:
    """Return the name of a column with what its footer says of it."""
    about = column.get(_ABOUT) if isinstance(column, dict) else None
    if not isinstance(about, dict):
        raise ValueError("a column without a description, or an encrypted one")  # noqa: TRY004
    path = about.get(_PATH)
    if not isinstance(path, list) or not path or not isinstance(path[0], bytes):
        raise ValueError("a column without a name")
    return path[0].decode(), about


def _chunk(data: bytes, name: str, about: dict[int, Any], rows: int) -> ChunkSizes:
    if not _whole(about, _VALUES):  # of an empty table, whose pages are nowhere
        return ChunkSizes(name, rows, 0, 0)
    start, values, unpacked = _whole(about, _DATA_AT), 0, 0
    if 0 < (dictionary := about.get(_DICTIONARY_AT, 0)) < start:
        start = dictionary
    for page in _pages(data, start, start + _whole(about, _PACKED)):
        unpacked += _whole(page, _UNPACKED_PAGE)
        values += sum(_whole(page[kind], 1) for kind in _DATA_PAGES if kind in page)
    if values != _whole(about, _VALUES):
        raise ValueError("other values in the pages of a column than its footer counts")
    return ChunkSizes(name, rows, values, unpacked)


def _pages(data: bytes, start: int, end: int) -> Iterator[dict[int, Any]]:
    """Give the header of each page between two places of a file."""
    if not 4 <= start <= end <= len(data):
        raise ValueError("a column outside the file")
    reader = ThriftReader(data, start)
    while reader.place < end:
        header = reader.struct()
        reader.place += _whole(header, _PACKED_PAGE)
        if reader.place > end:
            raise ValueError("a page that is cut off")
        yield header


def _items(about: object, field: int) -> list[Any]:
    found = about.get(field) if isinstance(about, dict) else None
    if not isinstance(found, list):
        raise ValueError("a footer that lacks its columns")  # noqa: TRY004 - of a file, not a call
    return found


def _whole(about: object, field: int) -> int:
    """Return a field that counts something."""
    found = about.get(field) if isinstance(about, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"no number as field {field} of a structure")
    return found
