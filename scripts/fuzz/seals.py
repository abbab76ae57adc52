"""Make digests fit files that were changed. Written apart from the package, which checks them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LARGEST = 2**28
"""Bytes of the largest file whose digest is made to fit."""


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def canonical(document: Any) -> bytes:  # noqa: ANN401 - JSON holds any value
    """Return the JSON that a seal is the digest of."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _regular(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: If it is no regular file, because a pipe would be waited for, or a large one.
    """
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise FileNotFoundError(path)
    return path.read_bytes()


def _loaded(path: Path) -> Any:  # noqa: ANN401 - JSON holds any value
    """Return the value of a JSON file. Raises as `_regular`, and ValueError."""
    return json.loads(_regular(path))


def seal_profile() -> None:
    """Make a profile's manifest fit its tables, and its digest fit the manifest."""
    path = Path("profile/manifest.json")
    with _leaving():
        manifest = _loaded(path)
        for name, entry in manifest["tables"].items():
            table = path.with_name(f"{name}.parquet")
            with _leaving():
                data = _regular(table)
                entry["sha256"] = digest_of(data)
                entry["rows"] = pq.ParquetFile(pa.BufferReader(data)).metadata.num_rows
        rest = {key: value for key, value in manifest.items() if key != "digest"}
        manifest["digest"] = digest_of(canonical(rest))
        path.write_text(json.dumps(manifest))


def seal_sweep() -> None:
    """Make the seal of a finished sweep fit its table, and the names of parts fit their bytes."""
    folder = Path("sweep")
    with _leaving():
        plan = _loaded(folder / "plan.json")
        for part in sorted((folder / "parts").glob("*-*.parquet")):
            index = part.name.partition("-")[0]
            digest = digest_of(f"{plan['digest']} {int(index)} ".encode() + _regular(part))
            part.rename(part.with_name(f"{index}-{digest}.parquet"))
    with _leaving():
        path = folder / "sweep.json"
        about = _loaded(path)
        about["sha256"] = digest_of(_regular(folder / "designs.parquet"))
        _seal(path, about)


def _seal(path: Path, document: dict[str, Any]) -> None:
    """Write a document, with its seal where it carries one."""
    _seal_in(document)
    path.write_text(json.dumps(document))


def _seal_in(document: dict[str, Any]) -> None:
    if "digest" in document:
        rest = {key: value for key, value in document.items() if key != "digest"}
        document["digest"] = digest_of(canonical(rest))


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """Leave as it is what was changed so much that nothing can be sealed."""
    try:
        yield
    except Exception:  # noqa: BLE001 - damaged files make libraries raise anything
        return


def seal_recording() -> None:
    """Make the seals of an unfinished recording fit its settings and its pieces."""
    with _leaving():
        settings = Path("profile/recording.json")
        _seal(settings, _loaded(settings))
    for mark in sorted(Path("profile/parts").glob("*.done")):
        with _leaving():
            document = _loaded(mark)
            for table in document["tables"]:
                data = _regular(mark.with_name(f"{mark.stem}.{table}.parquet"))
                document["tables"][table] = digest_of(data)
            _seal(mark, document)


def seal_heads() -> None:
    """Make the digests of heads fit their tensors, where they carry any."""
    path, weights = Path("heads/heads.json"), Path("heads/heads.safetensors")
    with _leaving():
        about = _loaded(path)
        with _leaving():
            seal_tensors(weights)
            about["sha256"] = _claimed(weights)
        _seal(path, about)


def seal_training() -> None:
    """Make the digests of an unfinished training run fit its tensors and its settings."""
    for path in sorted(Path("heads/cache").glob("*.safetensors")):
        with _leaving():
            seal_tensors(path)
    with _leaving():
        state = Path("heads/train.json")
        _seal(state, _loaded(state))
    with _leaving():
        lines = Path("heads/continuations.jsonl")
        documents = [json.loads(line) for line in _regular(lines).splitlines()]
        for document in documents:
            _seal_in(document)
        lines.write_text("".join(f"{json.dumps(document)}\n" for document in documents))


def seal_tensors(path: Path) -> None:
    """Make the digest that a file of tensors carries fit them, where it carries one."""
    from safetensors.torch import load

    from adadecode.engine.runtime import fingerprints

    data = _regular(path)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = header.get("__metadata__", {})
    if "sha256" not in about:
        return
    rest = {key: value for key, value in about.items() if key != "sha256"}
    about["sha256"] = fingerprints.of_all_bytes(load(data), rest)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def _claimed(path: Path) -> str:
    """Return the digest that a file of tensors carries."""
    data = _regular(path)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return str(header["__metadata__"]["sha256"])
