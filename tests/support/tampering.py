"""Change a profile on disk without its store, for tests of damaged profiles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.profiles import MANIFEST, manifest_digest


def edit_manifest(
    folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True
) -> None:
    """Change the manifest.

    Args:
        folder: Of the profile.
        change: Called with the manifest, which it changes in place.
        seal: Whether the digest is made to fit the change.
    """
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    if seal:
        manifest["digest"] = manifest_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def replace_table(folder: Path, name: str, data: bytes) -> None:
    """Replace a table's file, and its digest in the manifest."""
    (folder / f"{name}.parquet").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit_manifest(folder, lambda manifest: manifest["tables"][name].update(sha256=digest))


def read_table(folder: Path, name: str) -> pa.Table:
    """Return a table as Arrow reads it."""
    return pq.ParquetFile(folder / f"{name}.parquet").read()


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())
