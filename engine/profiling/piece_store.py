"""An unfinished recording: one small checked file for each finished piece, so that a killed recording resumes where it stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.engine.runtime.distributed import decided, is_first
from adadecode.profiles.errors import InputError
from adadecode.profiles.schema import ALL_TABLES, MANIFEST

SETTINGS = "recording.json"
Row = dict[str, Any]


class Parts:
    """The pieces of the recording in ``folder``. Each piece is written whole or not at all.

    Where several processes share a model (`adadecode.engine.runtime.distributed`), only the first touches the folder; all must ask alike.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pieces = folder / "parts"

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], *, resume: bool) -> Parts:
        """The recording in ``folder``: a new one, or with ``resume`` the one begun there. Raises InputError where it holds another."""
        return decided(lambda: cls._open(folder, settings, resume=resume))

    @classmethod
    def _open(cls, folder: Path, settings: dict[str, Any], *, resume: bool) -> Parts:
        parts = cls(folder)
        if not resume:
            parts.check_new()
            parts._make_folder()
            parts._write(
                folder / SETTINGS, (json.dumps(settings, indent=1, sort_keys=True) + "\n").encode()
            )
            parts.pieces.mkdir(exist_ok=True)
            return parts
        begun = cls.settings(folder)
        parts.check_same(begun, settings)
        parts.pieces.mkdir(exist_ok=True)
        return parts

    def check_new(self) -> None:
        """Raises InputError where no recording can begin in the folder: not an empty directory, or one that a recording was killed in before it began."""
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: name a directory with --out")
        if (folder / MANIFEST).exists():
            raise InputError(
                f"{folder} already holds a finished recording: name another directory with --out"
            )
        if (folder / SETTINGS).exists():
            raise InputError(
                f"{folder} holds an unfinished recording: finish it with --resume, or name another directory with --out"
            )
        try:
            left = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
        except OSError as error:
            raise InputError(
                f"cannot record into {folder} ({error.strerror}): name another directory with --out"
            ) from error
        if left - {self.pieces.name, f"{SETTINGS}.part"}:
            raise InputError(
                f"{folder} is not an empty directory and holds no recording: name another with --out"
            )
        within = next(
            one for one in (folder.absolute(), *folder.absolute().parents) if one.exists()
        )
        if not (within.is_dir() and os.access(within, os.W_OK | os.X_OK)):
            raise InputError(
                f"cannot record into {folder} ({within} is no directory to write into): name another directory with --out"
            )

    def check_same(self, begun: dict[str, Any], settings: dict[str, Any]) -> None:
        """Raises InputError where the recording begun in the folder has other settings."""
        differing = sorted(
            k for k in settings.keys() | begun.keys() if settings.get(k) != begun.get(k)
        )
        if differing:
            what = "; ".join(f"{k} was {begun.get(k)!r}, is {settings.get(k)!r}" for k in differing)
            raise InputError(
                f"{self.folder} holds another recording ({what}): resume it with its own settings, or name another directory with --out"
            )

    def _make_folder(self) -> None:
        """Raises InputError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot record into {self.folder} ({error.strerror}): name another directory with --out"
            ) from error

    @staticmethod
    def settings(folder: Path) -> dict[str, Any]:
        """The settings of the recording begun in ``folder``. Raises InputError."""
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
                f"{folder / SETTINGS} is damaged (it holds no object): record anew into another directory"
            )
        return settings

    def has(self, piece: str) -> bool:
        """Whether the piece is finished."""
        return decided((self.pieces / f"{piece}.done").exists)

    def write(self, piece: str, tables: dict[str, Sequence[Row]]) -> None:
        """Keep a finished piece: rows of one or more tables."""
        if not is_first():
            return
        for name, rows in tables.items():
            sink = pa.BufferOutputStream()
            pq.write_table(
                pa.Table.from_pylist(list(rows), schema=ALL_TABLES[name]), sink, compression="zstd"
            )
            self._write(self.pieces / f"{piece}.{name}.parquet", sink.getvalue().to_pybytes())
        self._write(self.pieces / f"{piece}.done", b"")

    def rows(self, piece: str, table: str) -> list[Row]:
        """The rows of one table in a finished piece."""
        found: list[Row] = decided(
            lambda: pq.read_table(
                self.pieces / f"{piece}.{table}.parquet", use_threads=False
            ).to_pylist()
        )
        return found

    def table(self, name: str) -> pa.Table:
        """Everything kept of one table, the pieces in the order of their names; for the first process."""
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
        """Whether the recording was killed after it was whole; what it no longer needs is then removed."""
        if not ((self.folder / MANIFEST).exists() and (self.folder / SETTINGS).exists()):
            return False
        self.clear()
        return True

    def clear(self) -> None:
        """Remove the pieces of a recording that is finished."""
        shutil.rmtree(self.pieces, ignore_errors=True)
        (self.folder / SETTINGS).unlink(missing_ok=True)

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        partial = path.with_name(path.name + ".part")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
