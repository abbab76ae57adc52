"""Made-up kernel tables, in the form of those that AIConfigurator publishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SYSTEM, BACKEND, VERSION = "a100_sxm", "vllm", "0.14.0"
DEVICE = "NVIDIA A100-SXM4-80GB"

FIXED, BANDWIDTH, FLOPS = 5e-6, 1.6e12, 250e12
"""A kernel takes this many seconds, and the longer of its bytes and its FLOPs at these rates."""

ROWS = (1, 2, 4, 8, 16, 64, 128, 512)
WIDTHS = (64, 256, 1024, 4096, 16384, 65536)
BATCHES, CONTEXTS = (1, 2, 4, 8), (2, 128, 1024, 8192)
HEADS = ((1, 1), (2, 2), (4, 4), (8, 8), (8, 2), (32, 8))


def product_seconds(m: int, n: int, k: int, width: float = 2.0) -> float:
    """Return the seconds of a made-up product of m x k with k x n numbers."""
    moved = width * n * k + 2.0 * m * (n + k)
    return FIXED + max(moved / BANDWIDTH, 2.0 * m * n * k / FLOPS)


def attention_seconds(batch: int, context: int, kv_heads: int, head_dim: int = 128) -> float:
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


def attention_table(*, decode: bool) -> pd.DataFrame:
    """Return a table of attention of one token of each sequence, or of whole prompts."""
    return pd.DataFrame(
        [
            {
                "framework": "VLLM", "version": VERSION, "device": DEVICE,
                "op_name": "generation_attention" if decode else "context_attention",
                "kernel_source": "vllm_flash_attn", "batch_size": batch,
                "isl": 1 if decode else context, "num_heads": heads, "num_key_value_heads": kv,
                "head_dim": 128, "beam_width": 1, "attn_dtype": "bfloat16",
                "kv_cache_dtype": "bfloat16", "step": context - 1 if decode else 0,
                "latency": 1e3 * attention_seconds(batch, context, kv),
            }
            for batch, context, (heads, kv) in product(
                BATCHES, CONTEXTS, HEADS if decode else (*HEADS, (16, 16))
            )
        ]
    )  # fmt: skip


def write_kernel_tables(
    folder: Path,
    products: pd.DataFrame | None = None,
    *,
    system: str = SYSTEM,
    version: str = VERSION,
) -> Path:
    """Write the three tables of a system, and return the folder of all systems.

    Args:
        folder: The folder of all systems.
        products: The products; `product_table` by default.
        system: Name of the system.
        version: Version of the engine.
    """
    for kind, name, table in (
        ("gemm", "gemm_perf", product_table() if products is None else products),
        ("attention", "generation_attention_perf", attention_table(decode=True)),
        ("attention", "context_attention_perf", attention_table(decode=False)),
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
