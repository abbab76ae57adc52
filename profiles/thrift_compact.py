"""Read structures in Thrift's compact protocol, in which Parquet writes its footers and headers.

pyarrow reads them too, but some of what it says about a file ends the whole program where a byte of
the footer is wrong. A structure is returned as its fields by number, whatever they mean.
"""

from __future__ import annotations

from typing import Any

DEEPEST = 16
"""Levels of the most deeply nested structure; Parquet has half of them."""

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(
    13
)


class ThriftReader:
    """Reads structures from bytes, one after the other.

    Attributes:
        data: The bytes.
        place: Where the next one begins.
    """

    def __init__(self, data: bytes, place: int = 0) -> None:
        self.data, self.place = data, place

    def struct(self, level: int = 0) -> dict[int, Any]:
        """Return the fields of the structure that begins here.

        Raises:
            ValueError: If there is none, it is cut off, too deep, or has a field twice.
        """
        if level > DEEPEST:
            raise ValueError("a structure that is nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != _STOP:
            step, kind = head >> 4, head & 15
            number = number + step if step else self._signed()
            if number in found:
                raise ValueError(f"field {number} twice in a structure")
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, level)
        return found

    def _value(self, kind: int, level: int) -> Any:  # noqa: ANN401 - of any type
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind in (_BINARY, _DOUBLE):  # none of the sizes is a fraction: the bytes are enough
            return self._bytes(8 if kind == _DOUBLE else self._unsigned())
        if kind == _STRUCT:
            return self.struct(level + 1)
        if kind in (_LIST, _SET, _MAP):
            return self._values(kind, level)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        raise ValueError(f"a field of the unknown type {kind}")

    def _values(self, kind: int, level: int) -> list[Any]:
        """Return the items of a list or set, or the keys and values of a map in turn."""
        kinds: tuple[int, ...] = ()
        if kind == _MAP:
            count = self._count(self._unsigned())
            kinds = divmod(self._byte(), 16) if count else ()
        else:
            head = self._byte()
            count = self._count(head >> 4 if head >> 4 < 15 else self._unsigned())
            kinds = (head & 15,)
        return [self._value(one, level + 1) for _ in range(count) for one in kinds]

    def _count(self, count: int) -> int:
        """Return a number of items, each of which takes a byte at least."""
        if count > len(self.data) - self.place:
            raise ValueError("a list that is cut off")
        return count

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def _byte(self) -> int:
        if self.place >= len(self.data):
            raise ValueError("a structure that is cut off")
        self.place += 1
        return self.data[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise ValueError("a text that is cut off")
        self.place += count
        return self.data[self.place - count : self.place]
