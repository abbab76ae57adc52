"""An unfinished recording: small files for each finished piece, so that it resumes after a kill.

``recording.json`` is sealed and gives the recording a number of its own. A finished piece has a
sealed mark, which names the recording and the digest of each file. A piece that is torn, changed or
of another recording is made again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.runtime.distributed import decide_together, is_first
from adadecode.profiles.atomic_write import write_bytes, write_json
from adadecode.profiles.digest import SEAL, check_seal, sealed, sha256_hex
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.profiles.input_file import read_bytes, read_json
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import make_folder, remove_folder
from adadecode.profiles.output_path import check_output_directory
from adadecode.profiles.part_file import PART_SUFFIX
from adadecode.profiles.schema import ALL_TABLES, MANIFEST
from adadecode.profiles.store import read_profile

SETTINGS = "recording.json"
"""The file that holds the settings of an unfinished recording."""
PIECES = "parts"
"""The folder of its pieces."""
FORMAT = 2
"""The version of that file and of the pieces. Before, they carried no digests."""
LARGEST_FILE = 2**28
"""Bytes of the largest file of a piece: some of a long text's trace take a few megabytes."""
MARK = ".done"
"""What the name of the file ends with that marks a finished piece."""
Row = dict[str, Any]


class PieceStore:
    """The pieces of the recording in a folder. Each piece is written whole or not at all.

    Where several processes share a model (`adadecode.engine.runtime.distributed`), only the first
    touches the folder, and all must call the same methods.

    Args:
        folder: Where the profile will be in the end.

    Attributes:
        recording: The number of the recording, once it is begun.
        damaged: The names of the pieces that were found damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pieces = folder / PIECES
        self.recording = ""
        self.damaged: list[str] = []
        self._digests: dict[str, dict[str, str]] = {}
        """By finished piece the SHA-256 of each of its files, by table."""

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], *, resume: bool) -> PieceStore:
        """Begin a recording in ``folder``, or with ``resume`` go on with the one begun there.

        Args:
            folder: Where the profile will be in the end.
            settings: The plan's; a resumed recording must have the same.
            resume: Whether to go on with a recording.

        Raises:
            InputError: The folder holds something else, or cannot be written into.
        """
        return decide_together(lambda: cls._open(folder, settings, resume=resume))

    @classmethod
    def _open(cls, folder: Path, settings: dict[str, Any], *, resume: bool) -> PieceStore:
        store = cls(folder)
        if resume:
            begun = _begun(folder)
            store.check_same(begun["settings"], settings)
        else:
            store.check_new()
            begun = {"format": FORMAT, "recording": secrets.token_hex(16), "settings": settings}
            write_json(folder / SETTINGS, sealed(begun, "the settings of a recording"))
        with refusing(store.pieces):
            make_folder(store.pieces)
        store.recording = begun["recording"]
        store._check_pieces()
        return store

    def _check_pieces(self) -> None:
        """Find which pieces are finished, and take their marks from those that are damaged."""
        for mark in sorted(self.pieces.glob(f"*{MARK}")):
            piece = mark.name.removesuffix(MARK)
            try:
                self._digests[piece] = self._checked(mark, piece)
            except InputError:
                self.damaged.append(piece)
                with refusing(mark):
                    mark.unlink()

    def _checked(self, mark: Path, piece: str) -> dict[str, str]:
        """Return the digests of a piece's files. Raise InputError unless they are these."""
        found = read_json(mark)
        if not isinstance(found, dict):
            raise InputError(f"{mark} is no mark of a piece")
        check_seal(found, mark, "make the piece again")
        digests = found.get("tables")
        if (found.get("recording"), found.get("piece")) != (self.recording, piece) or not (
            isinstance(digests, dict) and digests.keys() <= ALL_TABLES.keys()
        ):
            raise InputError(f"{mark} is the mark of another piece")
        for table, digest in digests.items():
            _parsed(self._file(piece, table), digest, table)
        return digests

    def _file(self, piece: str, table: str) -> Path:
        return self.pieces / f"{piece}.{table}.parquet"

    def check_new(self) -> None:
        """Check that a recording can begin in the folder.

        It can in one that is missing or empty, or in which a recording was killed before it began.

        Raises:
            InputError: It cannot.
        """
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: name a directory with --out")
        if (folder / MANIFEST).exists():
            raise InputError(
                f"{folder} already holds a finished recording: name another directory with --out"
            )
        if (folder / SETTINGS).exists():
            raise InputError(
                f"{folder} holds an unfinished recording: finish it with --resume, "
                "or name another directory with --out"
            )
        check_output_directory(folder)
        left = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
        if left - {self.pieces.name, f"{SETTINGS}{PART_SUFFIX}", LOCK_FILE} or (
            self.pieces.is_dir() and any(self.pieces.iterdir())
        ):
            raise InputError(
                f"{folder} is not an empty directory and holds no recording: "
                "name another with --out"
            )

    def check_same(self, begun: dict[str, Any], settings: dict[str, Any]) -> None:
        """Check that the recording begun in the folder has these settings.

        Options that are written in another way, such as ``0.50`` for ``0.5``, are the same.

        Args:
            begun: The settings of the recording in the folder.
            settings: Those it must have.

        Raises:
            InputError: It has others.
        """
        before, now = normalized(begun), normalized(settings)
        differing = sorted(
            name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
        )
        if differing:
            changes = (
                f"{name} was {before.get(name)!r}, is {now.get(name)!r}" for name in differing
            )
            raise InputError(
                f"{self.folder} holds another recording ({'; '.join(changes)}): resume it with "
                "its own settings, or name another directory with --out"
            )

    @staticmethod
    def settings(folder: Path) -> dict[str, Any]:
        """Return the settings of the recording begun in ``folder``.

        Raises:
            InputError: There is none, it is finished, or its settings are damaged.
        """
        settings: dict[str, Any] = _begun(folder)["settings"]
        return settings

    def has(self, piece: str) -> bool:
        """Return whether the piece is finished."""
        return decide_together(lambda: piece in self._digests)

    def has_begun(self) -> bool:
        """Return whether the folder holds an unfinished recording."""
        return (self.folder / SETTINGS).exists()

    def n_finished(self) -> int:
        """Return how many pieces are finished."""
        return len(list(self.pieces.glob(f"*{MARK}")))

    def write(self, piece: str, tables: dict[str, Sequence[Row]]) -> None:
        """Keep a finished piece: its rows, by the name of their table."""
        if not is_first():
            return
        digests = {}
        for name, rows in tables.items():
            sink = pa.BufferOutputStream()
            pq.write_table(
                pa.Table.from_pylist(list(rows), schema=ALL_TABLES[name]), sink, compression="zstd"
            )
            data = sink.getvalue().to_pybytes()
            write_bytes(self._file(piece, name), data)
            digests[name] = sha256_hex(data)
        mark = {"recording": self.recording, "piece": piece, "tables": digests}
        write_json(self.pieces / f"{piece}{MARK}", sealed(mark, "the mark of a piece"))
        self._digests[piece] = digests

    def rows(self, piece: str, table: str) -> list[Row]:
        """Return the rows of one table in a finished piece.

        Raises:
            InputError: The file was changed since it was written.
        """
        found: list[Row] = decide_together(lambda: self._read(piece, table).to_pylist())
        return found

    def table(self, name: str) -> pa.Table:
        """Return all that is kept of a table, in the order of the pieces' names.

        Only the first process may call this.

        Raises:
            InputError: A file was changed since it was written.
        """
        pieces = [piece for piece in sorted(self._digests) if name in self._digests[piece]]
        return pa.concat_tables(
            [ALL_TABLES[name].empty_table(), *(self._read(piece, name) for piece in pieces)]
        )

    def _read(self, piece: str, table: str) -> pa.Table:
        return _parsed(self._file(piece, table), self._digests[piece][table], table)

    def killed_at_the_end(self) -> bool:
        """Return whether the recording was killed after it was whole.

        What it no longer needs is then removed.

        Raises:
            ProfileError: The profile is damaged; the pieces stay.
        """
        if not ((self.folder / MANIFEST).exists() and (self.folder / SETTINGS).exists()):
            return False
        read_profile(self.folder)
        self.clear()
        return True

    def clear(self) -> None:
        """Remove the pieces of a recording that is finished."""
        with refusing(self.pieces):
            remove_folder(self.pieces)
            (self.folder / SETTINGS).unlink(missing_ok=True)


def _begun(folder: Path) -> dict[str, Any]:
    """Return the number and the settings of the recording begun in a folder.

    Raises:
        InputError: There is none, it is finished, or what describes it is damaged.
    """
    if (folder / MANIFEST).exists():
        raise InputError(f"the recording in {folder} is finished: there is nothing to resume")
    path, todo = folder / SETTINGS, "record anew into another directory"
    if not path.exists():
        raise InputError(
            f"{folder} holds no unfinished recording to resume: start one without --resume"
        )
    found = read_json(path)
    if isinstance(found, dict) and "format" not in found and SEAL not in found:
        raise InputError(
            f"{folder} holds a recording that an earlier version began, whose pieces carry no "
            f"digests: finish it with that version, or {todo}"
        )
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged (it holds no object): {todo}")
    check_seal(found, path, todo)
    if (
        found.get("format") != FORMAT
        or not isinstance(found.get("recording"), str)
        or not isinstance(found.get("settings"), dict)
    ):
        raise InputError(f"{path} does not describe a recording of this version: {todo}")
    return found


def _parsed(path: Path, digest: object, table: str) -> pa.Table:
    """Return the table in a file. Raise InputError unless the file has this digest."""
    data = read_bytes(path, at_most=LARGEST_FILE)
    if sha256_hex(data) != digest:
        raise InputError(
            f"{path} was changed since it was written: go on with --resume, which makes its piece "
            "again"
        )
    try:
        # Without threads: one that still starts up aborts a program that exits.
        return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).cast(ALL_TABLES[table])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} holds no table {table} ({error}): record anew") from None


def normalized(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with their options written in one way, and those that are missing filled in.

    Raises:
        InputError: A setting is not one of its option.
    """
    return {**settings, **RecordingRequest.from_settings(settings).to_settings()}
