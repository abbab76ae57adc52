"""Server-sent events, from the bytes as they come."""

from __future__ import annotations

LONGEST = 2**20
"""Bytes of the longest event that is waited for."""


class EventStream:
    """Takes bytes and gives the data of the events that are whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[str]:
        """Return the data of the events that end in these bytes, in order.

        Raises:
            ValueError: If it is not UTF-8, or an event does not end.
        """
        *lines, self._rest = (self._rest + received).split(b"\n")
        ended = [self._take(line.removesuffix(b"\r")) for line in lines]
        if len(self._rest) > LONGEST or sum(map(len, self._data)) > LONGEST:
            raise ValueError("an event that does not end")
        return [data for data in ended if data is not None]

    def close(self) -> list[str]:
        """Return the data of an event that the end of the stream ended. Raises ValueError."""
        return self.feed(b"\n\n")

    def _take(self, line: bytes) -> str | None:
        """Take a line, and return the data of the event where it ends one."""
        if not line:
            data, self._data = self._data, []
            return "\n".join(data) if data else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" ").decode())
        return None
