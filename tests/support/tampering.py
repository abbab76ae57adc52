"""Change a profile or a sweep on disk without its store, for tests of damaged ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.profiles import MANIFEST, manifest_digest
from adadecode.profiles.digest import sealed, sha256_hex
from adadecode.sim.sweep.store import ABOUT, TABLE

Document = dict[str, Any]


def edit_json(
    path: Path,
    change: Callable[[Document], object],
    seal: Callable[[Document], Document] | None,
) -> None:
    """Change a JSON document on disk.

    Args:
        path: The file.
        change: Called with the document, which it changes in place.
        seal: Returns the document with a seal that fits; None to leave the seal as it is.
    """
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(seal(document) if seal else document))


def _with_digest(manifest: Document) -> Document:
    return manifest | {"digest": manifest_digest(manifest)}


def edit_manifest(
    folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True
) -> None:
    """Change the manifest.

    Args:
        folder: Of the profile.
        change: Called with the manifest, which it changes in place.
        seal: Whether the digest is made to fit the change.
    """
    edit_json(folder / MANIFEST, change, _with_digest if seal else None)


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


def edit_sweep(
    folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True
) -> None:
    """Change the description of a sweep.

    Args:
        folder: Of the sweep.
        change: Called with the description, which it changes in place.
        seal: Whether the seal is made to fit the change.
    """
    edit_json(folder / ABOUT, change, (lambda about: sealed(about, "a sweep")) if seal else None)


def edit_designs(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the table of a sweep, and its digest and the seal with it."""
    table = pq.ParquetFile(folder / TABLE).read()
    data = parquet_bytes(change(table))
    (folder / TABLE).write_bytes(data)
    edit_sweep(folder, lambda about: about.update(sha256=sha256_hex(data)))
