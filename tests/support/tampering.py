"""Changes profiles on disk behind the store's back, for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.profiles import MANIFEST, manifest_digest


def edit(folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> None:
    """Change the manifest, and its digest with it where ``seal``."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    if seal:
        manifest["digest"] = manifest_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def put(folder: Path, name: str, data: bytes) -> None:
    """Replace a table's file, and what the manifest says of it."""
    (folder / f"{name}.parquet").write_bytes(data)
    edit(
        folder,
        lambda manifest: manifest["tables"][name].update(sha256=hashlib.sha256(data).hexdigest()),
    )


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def arrow(folder: Path, name: str) -> pa.Table:
    return pq.ParquetFile(folder / f"{name}.parquet").read()
