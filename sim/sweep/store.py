"""A sweep on disk: its plan, its parts and its tables, written whole and read back checked."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.profiles.errors import InputError, ProfileError

SCHEMA, SCHEMA_VERSION = "adadecode-sweep", 1


ABOUT, PLAN, PARTS, TABLE = "sweep.json", "plan.json", "parts", "designs.parquet"


_NUMBER = pa.float64()


_LISTS = {"placement": pa.list_(pa.int32()), "gammas": pa.list_(_NUMBER)}


_TEXTS = dict.fromkeys(("design", "form", "policy", "device"), pa.string())


_TYPES = {**_TEXTS, **_LISTS, "cap": pa.int32(), "verify": pa.bool_(), "fits": pa.bool_()}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A finished sweep.

    about: what sweep.json holds. designs: `adadecode.sim.prediction.evaluator.COLUMNS`, whether a design is on its device's Pareto front, and the form of its heads
    where there were several to choose from.
    """

    path: Path
    about: dict[str, Any]
    designs: pd.DataFrame

    def best(self, device: str) -> dict[str, Any]:
        """The best design on a device, a row as a dict, and what was worked out about it. Raises ProfileError."""
        if device not in self.about["best"]:
            raise ProfileError(
                f"no device {device!r} in the sweep: it holds {', '.join(self.about['best'])}"
            )
        found: dict[str, Any] = self.about["best"][device]
        return found


def read_sweep(path: str | Path) -> Sweep:
    """Raises ProfileError where it is unfinished, damaged, or of a newer program."""
    folder = Path(path)
    try:
        about = json.loads((folder / ABOUT).read_bytes())
    except FileNotFoundError:
        unfinished = (folder / PLAN).is_file()
        todo = (
            "finish it by calling `adadecode-sim sweep` again as before"
            if unfinished
            else "give a directory that `adadecode-sim sweep` wrote"
        )
        raise ProfileError(
            f"wanted a sweep in {folder}, got {'an unfinished one' if unfinished else 'no ' + ABOUT}: {todo}"
        ) from None
    except (OSError, ValueError) as error:
        raise ProfileError(
            f"cannot read {folder / ABOUT} ({error}): sweep again into another directory"
        ) from error
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise ProfileError(
            f"{folder / ABOUT} is not about a sweep: give a directory that `adadecode-sim sweep` wrote"
        )
    if about.get("schema_version") != SCHEMA_VERSION:
        raise ProfileError(
            f"{folder} is of schema version {about.get('schema_version')}, this program reads {SCHEMA_VERSION}: sweep again"
        )
    try:
        data = (folder / TABLE).read_bytes()
        if hashlib.sha256(data).hexdigest() != about.get("sha256"):
            raise ProfileError(
                f"{folder / TABLE} is truncated or was changed: restore it, or sweep again into another directory"
            )
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ProfileError(
            f"wanted a Parquet table in {folder / TABLE}, got something unreadable ({error}): sweep again"
        ) from error
    return Sweep(path=folder, about=about, designs=_frame(table))


def _write_table(path: Path, rows: pd.DataFrame) -> None:
    types = {
        name: _TYPES.get(name, pa.bool_() if name == "pareto" else _NUMBER) for name in rows.columns
    }
    table = pa.table({name: pa.array(rows[name].tolist(), kind) for name, kind in types.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _write(path, sink.getvalue().to_pybytes())


def _read_part(path: Path) -> pd.DataFrame:
    try:
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ProfileError(
            f"cannot read {path} ({error}): remove it and sweep again as before"
        ) from error
    return _frame(table)


def _frame(table: pa.Table) -> pd.DataFrame:
    """Lists as tuples, to be compared."""
    rows: pd.DataFrame = table.to_pandas()
    for name in _LISTS:
        rows[name] = [tuple(row) for row in table[name].to_pylist()]
    return rows


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): make room, or name another directory with --out"
        ) from None
