"""Read the kernel tables of one system, engine and version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import LatencyError, ProfileError
from adadecode.profiles.input_file import read_bytes
from adadecode.profiles.parquet_table import read_parquet

PRODUCTS, ATTENTION = "gemm", "attention"
"""Folders of the kinds of kernels."""

PRODUCT_FILE = "gemm_perf.parquet"
DECODE_FILE = "generation_attention_perf.parquet"
PROMPT_FILE = "context_attention_perf.parquet"

FORMATS = {"bf16": "bfloat16", "fp16": "float16"}
"""Our names of formats that a file calls otherwise."""

MOST_FAILED = 0.01
"""Share of the rows of a file that may hold no time: measurements that failed."""

_TODO = "copy the file again, from the package aiconfigurator-core"
_TIMES = {"latency": pa.float64(), "power": pa.float64()}
_OPTIONAL = ("power", "window_size", "device")
_LARGEST = 2**31 - 1

_PRODUCT_COLUMNS = {
    "device": pa.string(),
    "gemm_dtype": pa.string(),
    **dict.fromkeys(("m", "n", "k"), pa.int64()),
    **_TIMES,
}
_ATTENTION_COLUMNS = {
    "attn_dtype": pa.string(),
    "kv_cache_dtype": pa.string(),
    **dict.fromkeys(
        (
            *("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim"),
            "window_size",
        ),
        pa.int64(),
    ),
    **_TIMES,
}


@dataclass(frozen=True, kw_only=True)
class KernelRows:
    """Rows of one file that are of one kind of work.

    Attributes:
        rows: One row for each size: its sizes, ``seconds``, and ``watts`` (NaN where the file has
            no power). Of several rows of one size the median counts.
        source: The file, for messages.
    """

    rows: pd.DataFrame
    source: Path


@dataclass(frozen=True, kw_only=True)
class KernelTables:
    """What the kernels of one version of an engine took on a system.

    Attributes:
        system: Name of the system, such as ``h200_sxm``.
        backend: Name of the engine, such as ``vllm``.
        version: Its version.
        paths: The folders of its files by kind of kernel.
    """

    system: str
    backend: str
    version: str
    paths: Mapping[str, Path]

    @property
    def name(self) -> str:
        """System, engine and version in words."""
        return f"{self.system}, {self.backend} {self.version}"

    @cached_property
    def device_name(self) -> str:
        """What the engine's host called the device; empty where the file does not say."""
        table = self._products.table
        return str(table["device"].iloc[0]) if "device" in table and len(table) else ""

    @property
    def formats(self) -> tuple[str, ...]:
        """Formats of the products in the file, as it calls them."""
        return tuple(sorted(self._products.table["gemm_dtype"].unique()))

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file that was read so far, by its name."""
        return {one.path.name: one.sha256 for one in self._read_files}

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on each file that was read so far of which rows were left out."""
        return tuple(
            f"{one.failed} of {one.failed + len(one.table)} rows of {one.path.name} hold no time "
            "and were left out"
            for one in self._read_files
            if one.failed
        )

    def products(self, dtype: str) -> KernelRows:
        """Return the products in one format.

        Args:
            dtype: The format: ``bf16``, ``fp16``, or as the file calls it, such as ``fp8``.

        Returns:
            Rows of m, n, k, seconds, watts: m rows of width k times a matrix of k x n.

        Raises:
            LatencyError: If the file has no product in this format; the message says which it has.
            ProfileError: If the file is missing or damaged.
        """
        file = self._products
        wanted = FORMATS.get(dtype, dtype)
        rows = file.table[file.table["gemm_dtype"] == wanted]
        if rows.empty:
            raise LatencyError(
                f"no products in {dtype} in {file.path}: it has {', '.join(self.formats)}, choose "
                "one of these with --quant"
            )
        return file.by(rows, {"m": "m", "n": "n", "k": "k"})

    def decode_attention(
        self,
        *,
        n_heads: int,
        n_kv_heads: int,
        head_dim: int,
        cache: str = "bf16",
        window: int | None = None,
    ) -> KernelRows:
        """Return the attention of one new token of each of some sequences.

        Args:
            n_heads: Heads of queries on one device.
            n_kv_heads: Heads of keys and values on one device.
            head_dim: Width of a head.
            cache: Format of keys and values.
            window: Positions that the layer sees; None for all.

        Returns:
            Rows of batch, context, seconds, watts: so many sequences, with so many positions each,
            the new one included.

        Raises:
            LatencyError: If the file has no such heads; the message says which are nearest.
            ProfileError: If the file is missing or damaged.
        """
        rows = self._attention(self._decode, (n_heads, n_kv_heads, head_dim), cache, window)
        rows = rows.assign(context=rows["isl"] + rows["step"])
        return self._decode.by(rows, {"batch_size": "batch", "context": "context"})

    def prompt_attention(
        self,
        *,
        n_heads: int,
        n_kv_heads: int,
        head_dim: int,
        cache: str = "bf16",
        window: int | None = None,
    ) -> KernelRows:
        """Return the attention of whole prompts, of which nothing is cached.

        Args:
            n_heads: As in `decode_attention`.
            n_kv_heads: Likewise.
            head_dim: Likewise.
            cache: Likewise.
            window: Likewise.

        Returns:
            Rows of batch, prompt, seconds, watts: so many prompts, of so many tokens each.

        Raises:
            LatencyError: As `decode_attention`.
            ProfileError: Likewise.
        """
        rows = self._attention(self._prompt, (n_heads, n_kv_heads, head_dim), cache, window)
        return self._prompt.by(rows[rows["step"] == 0], {"batch_size": "batch", "isl": "prompt"})

    @staticmethod
    def _attention(
        file: _File, heads: tuple[int, int, int], cache: str, window: int | None
    ) -> pd.DataFrame:
        """Return the rows of a file with such heads."""
        table, wanted = file.table, FORMATS.get(cache, cache)
        rows = table[table["kv_cache_dtype"] == wanted]
        if rows.empty:
            raise LatencyError(
                f"no attention with keys and values in {cache} in {file.path}: it has "
                f"{', '.join(sorted(table['kv_cache_dtype'].unique()))}"
            )
        for name, size, words in zip(
            ("head_dim", "num_heads", "num_key_value_heads", "window_size"),
            (heads[2], heads[0], heads[1], window or 0),
            ("heads of width", "heads", "heads of keys and values", "a window of"),
            strict=True,
        ):
            if name not in rows:
                if size:
                    raise LatencyError(
                        f"no attention with {words} {size} in {file.path}: it has none with a "
                        "window"
                    )
                continue
            known = sorted(rows[name].unique().tolist())
            rows = rows[rows[name] == size]
            if rows.empty:
                raise LatencyError(
                    f"no attention with {words} {size} in {file.path}: it has "
                    f"{', '.join(map(str, known))}"
                )
        return rows

    @property
    def _read_files(self) -> list[_File]:
        """The files that were read so far."""
        names = ("_products", "_decode", "_prompt")
        return [self.__dict__[name] for name in names if name in self.__dict__]

    @cached_property
    def _products(self) -> _File:
        return _read(self.paths[PRODUCTS] / PRODUCT_FILE, _PRODUCT_COLUMNS)

    @cached_property
    def _decode(self) -> _File:
        return _read(self.paths[ATTENTION] / DECODE_FILE, _ATTENTION_COLUMNS)

    @cached_property
    def _prompt(self) -> _File:
        return _read(self.paths[ATTENTION] / PROMPT_FILE, _ATTENTION_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file: its rows that hold a time, and how many hold none."""

    path: Path
    table: pd.DataFrame
    failed: int
    sha256: str

    def by(self, rows: pd.DataFrame, sizes: Mapping[str, str]) -> KernelRows:
        """Return rows by these sizes, under these names, with seconds and watts."""
        found = (
            rows.rename(columns=dict(sizes))
            .groupby(list(sizes.values()), sort=True)[["seconds", "watts"]]
            .median()
            .reset_index()
        )
        return KernelRows(rows=found, source=self.path)


def _read(path: Path, columns: Mapping[str, pa.DataType]) -> _File:
    """Return a file, in seconds and watts.

    Raises:
        ProfileError: If it is missing, torn, lacks columns, or holds sizes that are none.
    """
    data = read_bytes(path, error=ProfileError)
    found = _number_types(data)
    schema = pa.schema([(name, found.get(name, kind)) for name, kind in columns.items()])
    table = read_parquet(data, schema, path, _TODO, optional=_OPTIONAL).to_pandas()
    whole = [name for name, kind in columns.items() if kind == pa.int64() and name in table]
    _check_sizes(table, whole, path)
    texts = [name for name, kind in columns.items() if kind == pa.string() and name in table]
    table = table.astype({**dict.fromkeys(whole, np.int64), **dict.fromkeys(texts, str)})
    seconds = 1e-3 * table["latency"].to_numpy(dtype=np.float64)
    watts = (
        table["power"].to_numpy(dtype=np.float64)
        if "power" in table
        else np.full(len(table), np.nan)
    )
    fine = np.isfinite(seconds) & (seconds > 0)
    failed = int((~fine).sum())
    if not fine.any() or failed > MOST_FAILED * len(table):
        raise ProfileError(
            f"{failed} of {len(table)} rows of {path} hold no latency above 0 ms: {_TODO}"
        )
    table = table.assign(
        seconds=seconds, watts=np.where(np.isfinite(watts) & (watts > 0), watts, np.nan)
    )
    return _File(path=path, table=table[fine], failed=failed, sha256=sha256_hex(data))


def _number_types(data: bytes) -> dict[str, pa.DataType]:
    """Return the types of the columns of numbers, which others may write narrower or wider.

    Nothing where the bytes are no Parquet file: whoever reads it says so.
    """
    try:
        schema = pq.ParquetFile(pa.BufferReader(data)).metadata.schema.to_arrow_schema()
    except (OSError, ValueError, pa.ArrowException):
        return {}
    return {
        one.name: one.type
        for one in schema
        if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)
    }


def _check_sizes(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    """Refuse rows whose sizes are no whole numbers, or below what they can be."""
    for name in names:
        values = table[name].to_numpy(dtype=np.float64)
        least = 0 if name in ("step", "window_size") else 1
        wrong = ~((values >= least) & (values <= _LARGEST) & (np.floor(values) == values))
        if wrong.any():
            raise ProfileError(
                f"wanted whole numbers as {name} in {path}, got {values[wrong.argmax()]:g} in row "
                f"{int(wrong.argmax())}: {_TODO}"
            )
