"""Profiles on disk: written whole, the manifest last; read back only when whole and sane.

A profile is a directory with one Parquet file per table of `schema.ALL_TABLES`, and a
``manifest.json`` that names every file with its SHA-256 and carries a ``digest`` of itself. The
manifest is written last (`adadecode.profiles.sealed_folder`), so that a directory without one is an
unfinished recording and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from adadecode.profiles.atomic_write import json_bytes, write_bytes
from adadecode.profiles.checks import AGAIN, check_prompts, check_values
from adadecode.profiles.columns import DESIGN
from adadecode.profiles.contradictions import check_contradictions
from adadecode.profiles.design_label import design_label
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.input_file import read_bytes
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.manifest import (
    check_manifest,
    has_gates,
    manifest_digest,
    read_manifest,
    schema_version,
    tables_of,
)
from adadecode.profiles.parquet_table import read_parquet
from adadecode.profiles.plausibility import check_plausible
from adadecode.profiles.profile_folder import TABLE_FILES, table_path, writing_profile
from adadecode.profiles.schema import (
    ALL_TABLES,
    MANIFEST,
    OPTIONAL_COLUMNS,
    OPTIONAL_TABLES,
    SAMPLED_TABLES,
    SCHEMA,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """A recording: its manifest and its tables. Read one with `read_profile`.

    The columns of the tables are described in `adadecode.profiles.columns`. List columns hold
    tuples, which can be grouped and compared.

    Attributes:
        path: The directory it was read from.
        manifest: The description of the recording: model, heads, machine, software, settings.
        latency: Raw samples of every piece of work.
        prompts: The prompts and how their texts ended.
        trace: What every head predicts before every committed token.
        branches: What heads predict after wrong drafts.
        runs: Timed runs; `runs_frame` adds the names of their designs.
        rounds: The rounds of each design on each prompt.
        works: The pieces of work of instrumented runs.
        draws: The random outcomes of sampled runs; empty where decoding was greedy.
        baselines: Runs of baselines; empty where none were recorded.
        head_forms: Timed checks of heads in other forms; empty where none were timed.
        serving: Times of the pieces of a server's step; empty where none were measured.
        load_requests: Requests of real loads; empty where none were served.
        load_steps: Steps of the batched engine under these loads.
        load_work: What each request had of these steps.
        load_pieces: Steps that were timed in pieces, apart from the loads.
    """

    path: Path
    manifest: dict[str, Any]
    latency: pd.DataFrame
    prompts: pd.DataFrame
    trace: pd.DataFrame
    branches: pd.DataFrame
    runs: pd.DataFrame
    rounds: pd.DataFrame
    works: pd.DataFrame
    draws: pd.DataFrame = field(
        default_factory=lambda: _frame(SAMPLED_TABLES["draws"].empty_table())
    )
    baselines: pd.DataFrame = field(
        default_factory=lambda: _frame(OPTIONAL_TABLES["baselines"].empty_table())
    )
    head_forms: pd.DataFrame = field(
        default_factory=lambda: _frame(OPTIONAL_TABLES["head_forms"].empty_table())
    )
    serving: pd.DataFrame = field(
        default_factory=lambda: _frame(OPTIONAL_TABLES["serving"].empty_table())
    )
    load_requests: pd.DataFrame = field(
        default_factory=lambda: _frame(OPTIONAL_TABLES["load_requests"].empty_table())
    )
    load_steps: pd.DataFrame = field(
        default_factory=lambda: _frame(OPTIONAL_TABLES["load_steps"].empty_table())
    )
    load_work: pd.DataFrame = field(
        default_factory=lambda: _frame(OPTIONAL_TABLES["load_work"].empty_table())
    )
    load_pieces: pd.DataFrame = field(
        default_factory=lambda: _frame(OPTIONAL_TABLES["load_pieces"].empty_table())
    )

    @property
    def name(self) -> str:
        """The name of the recording; that of its directory where it has none."""
        return str(self.manifest.get("name") or self.path.name)

    @property
    def sampled(self) -> bool:
        """Whether its texts were sampled. Otherwise they are greedy."""
        return self.manifest.get("sampling") is not None

    @property
    def n_layers(self) -> int:
        """L: the decoder layers of the model."""
        return int(self.manifest["model"]["n_layers"])

    @property
    def depths(self) -> tuple[int, ...]:
        """Depths of the trained heads, rising, each in 1..L-1."""
        return tuple(self.manifest["heads"]["depths"])

    @property
    def has_gates(self) -> bool:
        """Whether a gate stands before every head, and its scores were recorded."""
        return has_gates(self.manifest)

    @cached_property
    def latency_table(self) -> LatencyTable:
        """The latencies of the recording, made from the samples once.

        Raises:
            ProfileError: If the table of samples is empty, or holds absurd times.
        """
        return LatencyTable.from_samples(self.latency, self.n_layers)

    def latencies_with_heads(self, form: str) -> LatencyTable:
        """Return the latencies of the recording with heads of another form that was timed.

        Args:
            form: The form, as the table ``head_forms`` calls it.

        Raises:
            ProfileError: If it was not timed.
        """
        rows = self.head_forms[self.head_forms["form"] == form]
        if rows.empty:
            timed = ", ".join(sorted(set(self.head_forms["form"]))) or "none"
            raise ProfileError(
                f"{self.path} holds no times of heads {form} (others that were timed: {timed}): "
                "record it with --head-forms"
            )
        heads = rows.rename(columns={"depth": "layer"}).drop(columns="form")
        heads = heads.assign(kind="head", n_tokens=1, context=0)
        others = self.latency[self.latency["kind"] != "head"]
        known = [name for name in heads.columns if name in others.columns]
        return LatencyTable.from_samples(
            pd.concat([others[known], heads[known]], ignore_index=True), self.n_layers
        )

    def runs_frame(self) -> pd.DataFrame:
        """Return a copy of the table ``runs`` with the name of the design in a first column.

        The column ``design`` holds names like ``adadecode 4/8 gamma 0.75 gate 0.3``.
        """
        runs = self.runs
        labels = [
            design_label(policy, placement, gammas, cap, verify=verify, gates=gates)
            for policy, placement, gammas, cap, verify, gates in zip(
                *(runs[name] for name in DESIGN), strict=True
            )
        ]
        return pd.concat(
            [pd.Series(labels, index=runs.index, name="design", dtype="str"), runs], axis=1
        )


def write_table(
    folder: str | Path, name: str, table: pd.DataFrame | pa.Table, *, n_layers: int | None = None
) -> dict[str, Any]:
    """Write one table of a profile, whole or not at all.

    Args:
        folder: The directory of the profile.
        name: Name of the table.
        table: Its rows. Columns may come in any order, and in any type that converts without loss.
            Optional ones may be missing.
        n_layers: L, to check depths and layers against.

    Returns:
        The entry of the table in the manifest: ``{file, rows, sha256}``.

    Raises:
        ProfileError: If a table, column or value is not one that the schema allows.
    """
    arrow = _coerced(name, table)
    check_values(name, _whole_frame(name, arrow), n_layers, f"table {name}")
    data = _parquet(arrow)
    write_bytes(Path(folder) / TABLE_FILES[name], data)
    return _entry(name, arrow, data)


def write_profile(
    folder: str | Path, manifest: Mapping[str, Any], tables: Mapping[str, pd.DataFrame | pa.Table]
) -> Profile:
    """Write a profile: its tables, then the manifest.

    Where another profile is there, it stays whole until the new one is, whatever happens
    (`adadecode.profiles.sealed_folder`).

    Args:
        folder: The directory; made where it is missing.
        manifest: All of ``REQUIRED_MANIFEST`` but ``schema``, ``schema_version`` and ``tables``,
            which are set here, as is ``digest``.
        tables: Every table of the schema (``draws`` too where the manifest has ``sampling``), and
            optional ones.

    Returns:
        The profile as read back.

    Raises:
        ProfileError: If a table is missing, or something is not as the schema wants it.
        InputError: If a file cannot be written, or another process writes into the directory.
    """
    folder = Path(folder)
    names = tables_of(manifest)
    if wrong := sorted(set(names) ^ (set(tables) - set(OPTIONAL_TABLES))):
        raise ProfileError(
            f"wanted the tables {', '.join(names)}, missing or unknown: {', '.join(wrong)}; "
            "pass an empty one where there is nothing to record"
        )
    whole: dict[str, Any] = {
        **manifest,
        "schema": SCHEMA,
        "schema_version": schema_version(manifest),
        "tables": {},
    }
    manifest_digest(whole)
    whole = json.loads(json.dumps(whole))  # as it will be read: tuples become lists, keys text
    n_layers = check_manifest(whole, "the manifest to write")
    coerced = {
        name: _coerced(name, tables[name]) for name in (*names, *OPTIONAL_TABLES) if name in tables
    }
    frames = {name: _whole_frame(name, table) for name, table in coerced.items()}
    for name, frame in frames.items():
        check_values(name, frame, n_layers, f"table {name}")
    check_prompts(frames, "the profile to write")
    check_contradictions(whole, frames, "the profile to write", AGAIN)
    check_plausible(whole, frames, "the profile to write", AGAIN)
    with writing_profile(folder) as files:
        for name, table in coerced.items():
            data = _parquet(table)
            whole["tables"][name] = _entry(name, table, data)
            files.write(TABLE_FILES[name], data)
        whole["digest"] = manifest_digest(whole)
        files.finish(json_bytes(whole, indent=2))
    return read_profile(folder)


def read_profile(path: str | Path) -> Profile:
    """Read a profile.

    Args:
        path: Its directory.

    Raises:
        ProfileError: If it is unfinished, newer than this program, damaged, edited or absurd.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    n_layers = check_manifest(manifest, str(folder / MANIFEST))
    frames: dict[str, pd.DataFrame] = {}
    for name in (*tables_of(manifest), *(OPTIONAL_TABLES.keys() & manifest["tables"].keys())):
        frames[name] = _read_table(folder, name, manifest["tables"])
        check_values(name, frames[name], n_layers, str(folder / f"{name}.parquet"))
    check_prompts(frames, str(folder))
    check_contradictions(manifest, frames, str(folder), AGAIN)
    check_plausible(manifest, frames, str(folder), AGAIN)
    return Profile(path=folder, manifest=manifest, **frames)


def _parquet(table: pa.Table) -> bytes:
    """Return the bytes of a file that holds the table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _entry(name: str, table: pa.Table, data: bytes) -> dict[str, Any]:
    """Return the entry of a table, written as these bytes, in the manifest."""
    return {"file": TABLE_FILES[name], "rows": table.num_rows, "sha256": sha256_hex(data)}


def _read_table(folder: Path, name: str, entries: Mapping[str, Any]) -> pd.DataFrame:
    """Read one table: byte for byte the one the manifest names, with the columns of the schema."""
    entry = entries.get(name)
    path = table_path(folder, name)
    if not entry or not path.exists():
        raise ProfileError(
            f"{folder} lacks the table {name} ({path.name}): "
            f"copy the whole directory again, or {AGAIN}"
        )
    data = read_bytes(path, error=ProfileError)
    if (got := sha256_hex(data)) != entry["sha256"]:
        raise ProfileError(
            f"{path} is truncated or was changed: wanted sha256 {entry['sha256']}, "
            f"got {got}: restore it, or {AGAIN}"
        )
    table = read_parquet(
        data,
        ALL_TABLES[name],
        path,
        AGAIN,
        rows=entry["rows"],
        optional=OPTIONAL_COLUMNS[name],
    )
    for wanted in table.schema:
        column = table[wanted.name].combine_chunks()
        if column.null_count or (pa.types.is_list(wanted.type) and column.flatten().null_count):
            raise ProfileError(
                f"wanted a value in every row of column {wanted.name} in {path}, got nulls: {AGAIN}"
            )
    return _whole_frame(name, table)


def _coerced(name: str, table: pd.DataFrame | pa.Table) -> pa.Table:
    """Return the table with exactly the columns and types of the schema; NaN stays NaN.

    Optional columns are left out where they hold nothing.
    """
    if name not in ALL_TABLES:
        raise ProfileError(f"no table {name!r} in a profile: known are {', '.join(ALL_TABLES)}")
    frame = table if isinstance(table, pd.DataFrame) else _frame(table)
    names, optional = set(map(str, frame.columns)), OPTIONAL_COLUMNS[name]
    if wrong := sorted((names ^ set(ALL_TABLES[name].names)) - (optional - names)):
        raise ProfileError(
            f"wanted the columns {', '.join(ALL_TABLES[name].names)} in table {name}, "
            f"missing or unknown: {', '.join(wrong)}"
        )
    columns, fields = [], []
    for wanted in ALL_TABLES[name]:
        if wanted.name in optional and _holds_nothing(frame, wanted):
            continue
        values = frame[wanted.name].to_numpy()
        try:
            if pa.types.is_list(wanted.type):
                ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
                items = _array([item for row in values for item in row], wanted.type.value_type)
                column = pa.ListArray.from_arrays(pa.array(ends), items)
            else:
                column = items = _array(
                    values.tolist() if values.dtype == object else values, wanted.type
                )
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ProfileError(
                f"wanted values of type {wanted.type} in column {wanted.name} of table {name}, "
                f"got others ({error})"
            ) from error
        if items.null_count:
            raise ProfileError(
                f"wanted a value in every row of column {wanted.name} of table {name}, "
                f"got {items.null_count} nulls: {AGAIN}"
            )
        columns.append(column)
        fields.append(wanted)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _holds_nothing(frame: pd.DataFrame, column: pa.Field) -> bool:
    """Whether an optional column is missing, or has only NaN or empty lists."""
    if column.name not in frame:
        return True
    if pa.types.is_list(column.type):
        return not frame[column.name].map(len).any()
    return bool(frame[column.name].isna().all())


def _array(values: list[Any] | NDArray[Any], wanted: pa.DataType) -> pa.Array:
    """Return an Arrow array by way of NumPy.

    From a list of Python numbers, Arrow would make 1.5 an integer 1 without a word.
    """
    if pa.types.is_string(wanted):
        return pa.array(values, wanted)
    array = np.array(values)
    if pa.types.is_boolean(wanted) and array.size and array.dtype != bool:
        raise TypeError(f"got {array.dtype}")
    return pa.array(array, wanted, from_pandas=False)


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a data frame, with lists as tuples."""
    columns: dict[str, Any] = {}
    for field_ in table.schema:
        column = table[field_.name]
        if pa.types.is_list(field_.type):
            columns[field_.name] = pd.Series(_tuples(column.combine_chunks()), dtype=object)
        else:
            columns[field_.name] = column.to_pandas(use_threads=False)
    return pd.DataFrame(columns)


def _whole_frame(name: str, table: pa.Table) -> pd.DataFrame:
    """Return a table as a data frame with every column, optional ones filled with nothing."""
    frame = _frame(table)
    for place, column in enumerate(ALL_TABLES[name]):
        if column.name not in frame:
            lists = pa.types.is_list(column.type)
            empty = pd.Series([()] * len(frame), dtype=object) if lists else np.nan
            frame.insert(place, column.name, empty)
    return frame


def _tuples(lists: pa.ListArray) -> list[tuple[Any, ...] | None]:
    """Return the rows of a column of lists as tuples; None for a null.

    A row that is as the one before shares its tuple: a design stands in thousands of rows.
    """
    if lists.null_count:
        return [None if row is None else tuple(row) for row in lists.to_pylist()]
    items, ends = lists.flatten().to_numpy(zero_copy_only=False), lists.offsets.to_numpy()
    ends = ends - ends[0]
    sizes = np.diff(ends)
    differs = np.ones(len(sizes), dtype=np.bool_)
    differs[1:] = sizes[1:] != sizes[:-1]
    row = np.repeat(np.arange(len(sizes)), sizes)
    differs[row[items != items[np.arange(len(items)) - sizes[row]]]] = True
    values = items.tolist()
    spans = zip(ends[:-1][differs].tolist(), ends[1:][differs].tolist(), strict=True)
    held = [tuple(values[start:stop]) for start, stop in spans]
    return [held[place] for place in (np.cumsum(differs) - 1).tolist()]
