"""A file of JSON lines to which documents are added one by one, each under a seal of its own.

The seal of a line also covers what the file belongs to. A line that is torn, changed or of another
file does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import append_text, write_text
from adadecode.profiles.digest import SEAL, seal_of
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import parse_json, read_bytes

LARGEST = 2**30
"""Bytes of the largest file of lines that is read."""

_OWNER = "belongs to"
"""The key under which a seal covers what the line belongs to; the line does not repeat it."""


class SealedLines:
    """The documents of a file, in the order in which they were added.

    Args:
        path: The file; it may be missing.
        owner: What the file belongs to.

    Attributes:
        documents: What the lines hold, without their seals.

    Raises:
        InputError: The file cannot be read.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.path, self.owner = path, owner
        self.documents: list[dict[str, Any]] = []
        self._sound = True
        if path.exists():
            self._read()

    def _read(self) -> None:
        *lines, rest = read_bytes(self.path, at_most=LARGEST).split(b"\n")
        for line in lines:
            try:
                found = parse_json(line.decode("utf-8", "replace"), self.path)
            except InputError:
                continue
            if isinstance(found, dict) and self._is_sealed(found):
                self.documents.append({key: found[key] for key in found if key != SEAL})
        self._sound = not rest and len(self.documents) == len(lines)

    def keep(self, documents: list[dict[str, Any]]) -> None:
        """Let the file hold these documents and nothing else.

        Raises:
            InputError: It cannot be written.
        """
        if self._sound and documents == self.documents:
            return
        write_text(self.path, "".join(map(self._line, documents)))
        self.documents, self._sound = list(documents), True

    def add(self, document: Mapping[str, Any]) -> None:
        """Add a document, and bring it to the disk.

        Raises:
            InputError: It cannot be written.
        """
        self.keep(self.documents)  # nothing may follow a line that was torn
        append_text(self.path, self._line(document))
        self.documents.append(dict(document))

    def _line(self, document: Mapping[str, Any]) -> str:
        return json.dumps({**document, SEAL: self._seal(document)}) + "\n"

    def _is_sealed(self, document: Mapping[str, Any]) -> bool:
        try:
            return bool(document.get(SEAL) == self._seal(document))
        except InputError:  # it holds something that JSON cannot carry
            return False

    def _seal(self, document: Mapping[str, Any]) -> str:
        return seal_of({**document, _OWNER: self.owner}, "a line")
