"""An unfinished recording: small files for each finished piece, so that it resumes after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.runtime.distributed import decide_together, is_first
from adadecode.profiles.atomic_write import PART_SUFFIX, write_bytes, write_text
from adadecode.profiles.errors import InputError
from adadecode.profiles.folder_lock import LOCK_FILE
from adadecode.profiles.output_path import check_output_directory
from adadecode.profiles.schema import ALL_TABLES, MANIFEST

SETTINGS = "recording.json"
"""The file that holds the settings of an unfinished recording."""
Row = dict[str, Any]


class PieceStore:
    """The pieces of the recording in a folder. Each piece is written whole or not at all.

    Where several processes share a model (`adadecode.engine.runtime.distributed`), only the first
    touches the folder, and all must call the same methods.

    Args:
        folder: Where the profile will be in the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pieces = folder / "parts"

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
            store.check_same(cls.settings(folder), settings)
        else:
            store.check_new()
            text = json.dumps(settings, indent=1, sort_keys=True)
            write_text(folder / SETTINGS, text + "\n")
        store.pieces.mkdir(exist_ok=True)
        return store

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
        if left - {self.pieces.name, f"{SETTINGS}{PART_SUFFIX}", LOCK_FILE}:
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
        if (folder / MANIFEST).exists():
            raise InputError(f"the recording in {folder} is finished: there is nothing to resume")
        try:
            settings = json.loads((folder / SETTINGS).read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{folder} holds no unfinished recording to resume: start one without --resume"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{folder / SETTINGS} is damaged ({error}): record anew into another directory"
            ) from None
        if not isinstance(settings, dict):
            raise InputError(
                f"{folder / SETTINGS} is damaged (it holds no object): "
                "record anew into another directory"
            )
        return settings

    def has(self, piece: str) -> bool:
        """Return whether the piece is finished."""
        return decide_together((self.pieces / f"{piece}.done").exists)

    def has_begun(self) -> bool:
        """Return whether the folder holds an unfinished recording."""
        return (self.folder / SETTINGS).exists()

    def n_finished(self) -> int:
        """Return how many pieces are finished."""
        return len(list(self.pieces.glob("*.done")))

    def write(self, piece: str, tables: dict[str, Sequence[Row]]) -> None:
        """Keep a finished piece: its rows, by the name of their table."""
        if not is_first():
            return
        for name, rows in tables.items():
            sink = pa.BufferOutputStream()
            pq.write_table(
                pa.Table.from_pylist(list(rows), schema=ALL_TABLES[name]), sink, compression="zstd"
            )
            write_bytes(self.pieces / f"{piece}.{name}.parquet", sink.getvalue().to_pybytes())
        write_bytes(self.pieces / f"{piece}.done", b"")

    def rows(self, piece: str, table: str) -> list[Row]:
        """Return the rows of one table in a finished piece."""
        found: list[Row] = decide_together(
            lambda: pq.read_table(
                self.pieces / f"{piece}.{table}.parquet", use_threads=False
            ).to_pylist()
        )
        return found

    def table(self, name: str) -> pa.Table:
        """Return all that is kept of a table, in the order of the pieces' names.

        Only the first process may call this.
        """
        marked = {path.stem for path in self.pieces.glob("*.done")}
        paths = [
            p
            for p in sorted(self.pieces.glob(f"*.{name}.parquet"))
            if p.name.removesuffix(f".{name}.parquet") in marked
        ]
        return pa.concat_tables(
            [
                ALL_TABLES[name].empty_table(),
                *(pq.read_table(p, schema=ALL_TABLES[name], use_threads=False) for p in paths),
            ]
        )

    def killed_at_the_end(self) -> bool:
        """Return whether the recording was killed after it was whole.

        What it no longer needs is then removed.
        """
        if not ((self.folder / MANIFEST).exists() and (self.folder / SETTINGS).exists()):
            return False
        self.clear()
        return True

    def clear(self) -> None:
        """Remove the pieces of a recording that is finished."""
        shutil.rmtree(self.pieces, ignore_errors=True)
        (self.folder / SETTINGS).unlink(missing_ok=True)


def normalized(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with their options written in one way, and those that are missing filled in.

    Raises:
        InputError: A setting is not one of its option.
    """
    return {**settings, **RecordingRequest.from_settings(settings).to_settings()}
