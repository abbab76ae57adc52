"""Read the kernel tables of one system, engine and version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.input_file import is_there
from adadecode.sim.hardware.kernel_tables.table_file import KernelRows, TableFile, read_file

PRODUCTS, ATTENTION, COLLECTIVES, NCCL = "gemm", "attention", "comm", "nccl"
"""Folders of the kinds of kernels. NCCL has a folder among engines, and versions of its own."""

PRODUCT_FILE = "gemm_perf.parquet"
DECODE_FILE = "generation_attention_perf.parquet"
PROMPT_FILE = "context_attention_perf.parquet"
REDUCE_FILE = "custom_allreduce_perf.parquet"
NCCL_FILE = "nccl_perf.parquet"

FORMATS = {"bf16": "bfloat16", "fp16": "float16"}
"""Our names of formats that a file calls otherwise."""

_PRODUCT_COLUMNS = {
    "device": pa.string(),
    "gemm_dtype": pa.string(),
    **dict.fromkeys(("m", "n", "k"), pa.int64()),
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
}
_COLLECTIVE_COLUMNS = {
    **dict.fromkeys(("num_gpus", "message_size"), pa.int64()),
    "kernel_source": pa.string(),
}
_REDUCE_COLUMNS = {"allreduce_dtype": pa.string(), "backend": pa.string(), **_COLLECTIVE_COLUMNS}
_NCCL_COLUMNS = {"nccl_dtype": pa.string(), "op_name": pa.string(), **_COLLECTIVE_COLUMNS}

_SIXTEEN_BITS = ("bfloat16", "float16", "half", "bf16", "fp16")
"""What files call the formats of two bytes, which take equally long on the way."""


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
        file: TableFile, heads: tuple[int, int, int], cache: str, window: int | None
    ) -> pd.DataFrame:
        """Return the rows of a file with such heads."""
        table, wanted = file.table, FORMATS.get(cache, cache)
        rows = table[table["kv_cache_dtype"] == wanted]
        if rows.empty:
            raise LatencyError(
                f"no attention with keys and values in {cache} in {file.path}: it has "
                f"{', '.join(sorted(table['kv_cache_dtype'].unique()))}, choose one of these with "
                "--kv-dtype"
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

    def all_reduce(self, n_devices: int) -> KernelRows:
        """Return the engine's own sum of one vector over several devices, of 16-bit numbers.

        Args:
            n_devices: How many devices share it.

        Returns:
            Rows of elements, seconds, watts. Of a file with both, those that a graph started.

        Raises:
            LatencyError: If there is no file, or none of so many devices; the message says which.
            ProfileError: If the file is damaged.
        """
        file = self._reduce
        rows = file.table[file.table["allreduce_dtype"].isin(_SIXTEEN_BITS)]
        for name in ("kernel_source", "backend"):
            if name in rows:
                rows = rows[~rows[name].str.endswith("_eager")]
        return self._collective(file, rows, n_devices, "all-reduces of 16-bit numbers")

    def nccl(self, operation: str, n_devices: int) -> KernelRows:
        """Return what NCCL took for an operation on several devices, of 16-bit numbers.

        Args:
            operation: ``all_reduce`` or ``all_gather``; of the latter, elements count those that
                every device has afterwards.
            n_devices: How many devices share it.

        Returns:
            Rows of elements, seconds, watts.

        Raises:
            LatencyError: As `all_reduce`.
            ProfileError: Likewise.
        """
        file = self._nccl
        table = file.table
        rows = table[table["nccl_dtype"].isin(_SIXTEEN_BITS) & (table["op_name"] == operation)]
        return self._collective(file, rows, n_devices, f"{operation} of 16-bit numbers")

    @staticmethod
    def _collective(file: TableFile, rows: pd.DataFrame, n_devices: int, words: str) -> KernelRows:
        """Return the rows of so many devices by elements."""
        if n_devices not in (known := sorted(rows["num_gpus"].unique().tolist())):
            raise LatencyError(
                f"no {words} over {n_devices} devices in {file.path}: it has "
                f"{', '.join(map(str, known)) or 'none'}, choose one of these with --tp"
            )
        return file.by(rows[rows["num_gpus"] == n_devices], {"message_size": "elements"})

    def _of_several(self, kind: str, name: str) -> Path:
        """Return the file of a collective. Raises LatencyError where there is none."""
        place = self.paths[kind] / name
        if not is_there(place):
            raise LatencyError(
                f"no table of what devices exchange for {self.name}: several devices need {place}; "
                "leave --tp out, or give a folder that has it with --tables"
            )
        return place

    @property
    def _read_files(self) -> list[TableFile]:
        """The files that were read so far."""
        names = ("_products", "_decode", "_prompt", "_reduce", "_nccl")
        return [self.__dict__[name] for name in names if name in self.__dict__]

    @cached_property
    def _products(self) -> TableFile:
        return read_file(self.paths[PRODUCTS] / PRODUCT_FILE, _PRODUCT_COLUMNS)

    @cached_property
    def _decode(self) -> TableFile:
        return read_file(self.paths[ATTENTION] / DECODE_FILE, _ATTENTION_COLUMNS)

    @cached_property
    def _prompt(self) -> TableFile:
        return read_file(self.paths[ATTENTION] / PROMPT_FILE, _ATTENTION_COLUMNS)

    @cached_property
    def _reduce(self) -> TableFile:
        return read_file(self._of_several(COLLECTIVES, REDUCE_FILE), _REDUCE_COLUMNS)

    @cached_property
    def _nccl(self) -> TableFile:
        return read_file(self._of_several(NCCL, NCCL_FILE), _NCCL_COLUMNS)
