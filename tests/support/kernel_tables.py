"""Made-up kernel tables, in the form of those that AIConfigurator publishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SYSTEM, BACKEND, VERSION = "a100_sxm", "vllm", "0.14.0"
DEVICE = "NVIDIA A100-SXM4-80GB"

FIXED, BANDWIDTH, FLOPS = 5e-6, 1.6e12, 250e12
"""A kernel takes this many seconds, and the longer of its bytes and its FLOPs at these rates."""

LINK, EXCHANGE = 200e9, 9e-6
"""An exchange between devices takes so many seconds, and its bytes at this rate."""

MESSAGES = tuple(2**power for power in range(8, 29, 2))
"""Numbers of an exchange."""

ROWS = (1, 2, 4, 8, 16, 64, 128, 512)
WIDTHS = (64, 256, 1024, 4096, 16384, 65536)
BATCHES, CONTEXTS = (1, 2, 4, 8), (2, 128, 1024, 8192)
HEADS = ((1, 1), (2, 2), (4, 4), (8, 8), (8, 2), (8, 4), (16, 4), (32, 8))


def product_seconds(m: int, n: int, k: int, width: float = 2.0) -> float:
    """Return the seconds of a made-up product of m x k with k x n numbers."""
    moved = width * n * k + 2.0 * m * (n + k)
    return FIXED + max(moved / BANDWIDTH, 2.0 * m * n * k / FLOPS)


def attention_seconds(batch: int, context: int, kv_heads: float, head_dim: int = 128) -> float:
    """Return the seconds of made-up attention: keys and values in 16 bits, read once."""
    return FIXED + 4.0 * batch * context * kv_heads * head_dim / BANDWIDTH


def product_table(
    dtypes: Mapping[str, float] | None = None,
    rows: Iterable[int] = ROWS,
    widths: Iterable[int] = WIDTHS,
) -> pd.DataFrame:
    """Return a table of products.

    Args:
        dtypes: Bytes of one weight by format; BF16 alone by default.
        rows: Values of m.
        widths: Values of n and of k.
    """
    return pd.DataFrame(
        [
            {
                "framework": "VLLM", "version": VERSION, "device": DEVICE, "op_name": "gemm",
                "kernel_source": "vllm_default", "gemm_dtype": dtype, "m": m, "n": n, "k": k,
                "latency": 1e3 * product_seconds(m, n, k, width),
            }
            for (dtype, width), m, n, k in product(
                (dtypes or {"bfloat16": 2.0}).items(), rows, tuple(widths), tuple(widths)
            )
        ]
    )  # fmt: skip


def exchange_seconds(elements: int, n_devices: int) -> float:
    """Return the seconds of a made-up exchange of 16-bit numbers between devices."""
    return EXCHANGE + 2.0 * elements * (n_devices - 1) / n_devices / LINK


def reduce_table(n_devices: Sequence[int] = (2, 4)) -> pd.DataFrame:
    """Return a table of an engine's own sums, started by a graph and three times as long without.

    Args:
        n_devices: Numbers of devices.
    """
    return pd.DataFrame(
        [
            {
                "framework": "vLLM", "version": VERSION, "device": DEVICE, "op_name": "all_reduce",
                "kernel_source": f"vLLM_custom_{mode}", "allreduce_dtype": "bfloat16",
                "num_gpus": count, "message_size": size,
                "latency": 1e3 * factor * exchange_seconds(size, count), "backend": f"vllm_{mode}",
            }
            for count, size, (mode, factor) in product(
                n_devices, MESSAGES[:-3], (("graph", 1.0), ("eager", 3.0))
            )
        ]
    )  # fmt: skip


def nccl_table(n_devices: Sequence[int] = (2, 4, 8)) -> pd.DataFrame:
    """Return a table of NCCL's sums and gathered vectors, of one and of two bytes.

    Args:
        n_devices: Numbers of devices.
    """
    return pd.DataFrame(
        [
            {
                "framework": "TRTLLM", "version": "2.27.3", "device": DEVICE, "op_name": operation,
                "kernel_source": "NCCL", "nccl_dtype": dtype, "num_gpus": count,
                "message_size": size,
                "latency": 1e3 * factor * exchange_seconds(size, count),
            }
            for operation, (dtype, factor), count, size in product(
                ("all_reduce", "all_gather"), (("half", 2.0), ("int8", 1.0)), n_devices, MESSAGES
            )
        ]
    )  # fmt: skip


def write_exchanges(folder: Path, *, system: str = SYSTEM, version: str = VERSION) -> None:
    """Write what devices exchange beside the tables of a system, as `write_kernel_tables` does."""
    for engine, at, name, table in (
        (BACKEND, version, "custom_allreduce_perf", reduce_table()),
        ("nccl", "2.27.3", "nccl_perf", nccl_table()),
    ):
        place = folder / system / "comm" / engine / at
        place.mkdir(parents=True, exist_ok=True)
        write_table(place / f"{name}.parquet", table)


def attention_table(*, decode: bool, caches: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return a table of attention of one token of each sequence, or of whole prompts.

    Args:
        decode: Whether it is of one token.
        caches: By format of keys and values, by which factor bytes are those of 16 bits.
    """
    return pd.DataFrame(
        [
            {
                "framework": "VLLM", "version": VERSION, "device": DEVICE,
                "op_name": "generation_attention" if decode else "context_attention",
                "kernel_source": "vllm_flash_attn", "batch_size": batch,
                "isl": 1 if decode else context, "num_heads": heads, "num_key_value_heads": kv,
                "head_dim": 128, "beam_width": 1, "attn_dtype": "bfloat16",
                "kv_cache_dtype": cache, "step": context - 1 if decode else 0,
                "latency": 1e3 * attention_seconds(batch, context, factor * kv),
            }
            for (cache, factor), batch, context, (heads, kv) in product(
                (caches or {"bfloat16": 1.0}).items(),
                BATCHES,
                CONTEXTS,
                HEADS if decode else (*HEADS, (16, 16)),
            )
        ]
    )  # fmt: skip


def write_kernel_tables(
    folder: Path,
    products: pd.DataFrame | None = None,
    *,
    system: str = SYSTEM,
    version: str = VERSION,
    caches: Mapping[str, float] | None = None,
) -> Path:
    """Write the three tables of a system, and return the folder of all systems.

    Args:
        folder: The folder of all systems.
        products: The products; `product_table` by default.
        system: Name of the system.
        version: Version of the engine.
        caches: As for `attention_table`.
    """
    for kind, name, table in (
        ("gemm", "gemm_perf", product_table() if products is None else products),
        ("attention", "generation_attention_perf", attention_table(decode=True, caches=caches)),
        ("attention", "context_attention_perf", attention_table(decode=False, caches=caches)),
    ):
        place = folder / system / kind / BACKEND / version
        place.mkdir(parents=True, exist_ok=True)
        write_table(place / f"{name}.parquet", table)
    return folder


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table with its texts as plain ones, as others do."""
    found = pa.Table.from_pandas(table, preserve_index=False)
    plain = [
        column.with_type(pa.string()) if pa.types.is_large_string(column.type) else column
        for column in found.schema
    ]
    pq.write_table(found.cast(pa.schema(plain)), path)
